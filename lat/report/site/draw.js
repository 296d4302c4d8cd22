// Pictures and boxes as SVG. Boxes are in pixels of the image; `unit` is the number of them per screen pixel.
const draw = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const SHOWN_BY_BROWSERS = /\.(jpe?g|png|webp|gif|bmp|avif)$/i;
  const GLYPHS = { kept: "", moved: "→", added: "+", dropped: "×" };
  const TAG_HEIGHT = 15;
  const LETTER_WIDTH = 6.8;
  const TAG_LETTERS = 18;

  function element(name, attributes = {}, ...children) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  const pictureUrl = (pair, i) => `pictures/${encodeURIComponent(pair.source)}/${pair.images.rows[i]}.jpg`;

  function imageUrl(pair, i) {
    const path = pair.images.names[i].split(/[\\/]/).map(encodeURIComponent).join("/");
    return `${pair.folder}/${path}`;
  }

  /** The small picture, and over it the image itself if it can be loaded. */
  function picture(pair, i) {
    const size = { x: 0, y: 0, width: pair.images.widths[i], height: pair.images.heights[i], preserveAspectRatio: "none" };
    const drawn = [element("image", { ...size, href: pictureUrl(pair, i) })];
    if (SHOWN_BY_BROWSERS.test(pair.images.names[i])) {
      const full = element("image", { ...size, href: imageUrl(pair, i), class: "full" });
      full.addEventListener("error", () => full.remove());
      drawn.push(full);
    }
    return drawn;
  }

  function glyphs(box) {
    const decided = { accept: "✓ ", reject: "✗ " }[box.decision] || "";
    return decided + (box.dropped ? GLYPHS.dropped : GLYPHS[box.mark] || "") + (box.was ? "≠" : "");
  }

  function classes(box) {
    const mark = box.dropped ? "dropped" : box.mark || "plain";
    return [`is-${mark}`, box.was ? "is-changed" : "", box.decision ? `is-${box.decision}ed` : ""].filter(Boolean).join(" ");
  }

  /** A one-line description of a box. */
  function title(box) {
    const mark = box.dropped ? "dropped" : box.mark || "";
    const score = box.scored ? ` ${box.score.toFixed(2)}` : "";
    const was = box.was ? `class changed from ${box.was}` : "";
    return [`${box.name}${score}`, mark, was, box.crowd ? "crowd" : ""].filter(Boolean).join(", ");
  }

  function rectangle(box, name, inset = 0) {
    return element("rect", {
      class: name,
      x: box.x + inset,
      y: box.y + inset,
      width: Math.max(box.width - 2 * inset, 0.2),
      height: Math.max(box.height - 2 * inset, 0.2),
    });
  }

  /** A box with a dark casing under its line, which keeps it visible on any background. */
  function outline(box, unit = 1) {
    const drawn = element("g", { class: `box ${classes(box)}`, "data-box": box.key || "" }, textTitle(title(box)));
    if (box.mark === "moved" && box.sourceBox) drawn.append(rectangle(box.sourceBox, "before"));
    drawn.append(rectangle(box, "case"), rectangle(box, "line"));
    if (box.dropped || box.decision === "reject") drawn.append(cross(box));
    if (box.was) drawn.append(rectangle(box, "case second", 4 * unit), rectangle(box, "second", 4 * unit));
    return drawn;
  }

  function cross(box) {
    const path = `M${box.x} ${box.y}l${box.width} ${box.height}m${-box.width} 0l${box.width} ${-box.height}`;
    return element("path", { class: "line cross", d: path });
  }

  function textTitle(text) {
    const made = element("title");
    made.textContent = text;
    return made;
  }

  /** Tags with the boxes' names, placed one after another so that they overlap as little as possible. */
  function tags(boxes, view, unit) {
    const taken = [];
    return boxes.filter((box) => overlaps(box, view)).map((box) => {
      const name = box.name.length > TAG_LETTERS ? `${box.name.slice(0, TAG_LETTERS - 1)}…` : box.name;
      const text = `${glyphs(box)} ${name}`.trim();
      const area = place(box, view, (text.length * LETTER_WIDTH + 6) * unit, TAG_HEIGHT * unit, taken);
      taken.push(area);
      const label = element("text", { x: area.x + 3 * unit, y: area.y + 11.2 * unit, "font-size": 11 * unit });
      label.textContent = text;
      const ground = element("rect", { class: "ground", ...area, rx: 2.5 * unit });
      return element("g", { class: `tag ${classes(box)}`, "data-box": box.key || "" }, textTitle(title(box)), ground, label);
    });
  }

  /** Above, below, then inside the box, flush left, then flush right, inside the view. */
  function place(box, view, width, height, taken) {
    const right = Math.max(view.x + view.width - width, view.x);
    const within = (x) => Math.min(Math.max(x, view.x), right);
    const places = [];
    for (const y of [box.y - height, box.y + box.height, box.y, box.y + box.height - height]) {
      if (y < view.y || y + height > view.y + view.height) continue;
      for (const x of [box.x, box.x + box.width - width]) places.push({ x: within(x), y, width, height });
    }
    const free = places.find((area) => !taken.some((other) => overlaps(area, other)));
    return free || places[0] || { x: within(box.x), y: view.y, width, height };
  }

  const overlaps = (a, b) =>
    a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

  const byArea = (boxes) => [...boxes].sort((a, b) => b.width * b.height - a.width * a.height);

  /** `3 car, 1 bus`. */
  function classCounts(boxes) {
    const counts = new Map();
    for (const box of boxes) counts.set(box.name, (counts.get(box.name) || 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${count} ${name}`).join(", ") || "no boxes";
  }

  return { element, picture, pictureUrl, outline, tags, byArea, classCounts, glyphs, title };
})();
