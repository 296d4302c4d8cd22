// The gallery: cards of the images that pass the filters, page by page.
const gallery = (() => {
  const CARDS = 24;
  let pair = null;
  let order = [];
  let page = 0;
  let drawing = 0; // counts redraws, so that a slow one does not overwrite a later one

  const find = (id) => document.getElementById(id);

  function show(shown) {
    pair = shown;
    fillClasses();
    refresh();
  }

  function fillClasses() {
    const select = find("filter-class");
    const group = (label, names, side) => {
      const made = document.createElement("optgroup");
      made.label = label;
      names.forEach((name, i) => made.append(new Option(name, `${side} ${i}`)));
      return made;
    };
    select.replaceChildren(
      new Option("any", ""),
      group(`${pair.target} (transferred)`, pair.targetClasses, "target"),
      group(`${pair.source} (dropped)`, pair.sourceClasses, "source"),
    );
  }

  /** Select the images again and show the first page. */
  function refresh() {
    order = filters.choose(pair, filters.read(find("filters"), pair));
    page = 0;
    redraw();
  }

  function turn(to) {
    page = to;
    redraw();
    find("gallery-count").scrollIntoView({ block: "nearest" });
  }

  function redraw() {
    const shown = order.slice(page * CARDS, (page + 1) * CARDS);
    const total = pair.images.ids.length;
    find("gallery-count").textContent =
      order.length === total ? `${total.toLocaleString("en")} images` : `${order.length.toLocaleString("en")} of ${total.toLocaleString("en")} images`;
    drawing += 1;
    find("cards").replaceChildren(...shown.map((position, i) => card(position, page * CARDS + i, drawing)));
    if (!shown.length) find("cards").append(note("No image has such a box. Reset the filters to see all."));
    drawPager(Math.ceil(order.length / CARDS));
    reviewCount();
  }

  function note(text) {
    const made = document.createElement("li");
    made.className = "note";
    made.textContent = text;
    return made;
  }

  function card(position, place, now) {
    const name = pair.images.names[position];
    const [width, height] = [pair.images.widths[position], pair.images.heights[position]];
    const button = document.createElement("button");
    button.type = "button";
    button.className = "card-button";
    button.addEventListener("click", () => viewer.open(pair, order, place));
    const image = Object.assign(document.createElement("img"), {
      src: draw.pictureUrl(pair, position), alt: `Image ${name}`, loading: "lazy", width, height,
    });
    const frame = document.createElement("span");
    frame.className = "thumb";
    frame.append(image);
    button.append(frame, caption(position, name));
    lat.image(pair, position).then((layers) => {
      if (now !== drawing) return;
      const boxes = [...layers.source.filter((box) => box.dropped), ...layers.transferred];
      frame.append(draw.element("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, ...draw.byArea(boxes).map((box) => draw.outline(box))));
      image.alt = `Image ${name}: ${draw.classCounts(layers.transferred)}`;
    }, report);
    const item = document.createElement("li");
    item.append(button);
    return item;
  }

  function caption(position, name) {
    const made = document.createElement("span");
    made.className = "caption";
    const text = (className, content) => {
      const part = document.createElement("span");
      part.className = className;
      part.textContent = content;
      return part;
    };
    const state = decisions.ofImage(pair, pair.images.ids[position]);
    made.append(text("file", name), text("doubt", doubtOf(pair, position)), text("marks", marks(position)));
    if (state) made.append(text("decided", `image ${state}ed`));
    return made;
  }

  /** The doubt of an image, and whether the labels overlook a sure detection of the target's detector. */
  function doubtOf(ofPair, position) {
    const overlooked = ofPair.images.overlooked.includes(position) ? ", overlooks a detection" : "";
    return `doubt ${ofPair.images.doubts[position]} %${overlooked}`;
  }

  /** `2 added, 1 dropped`. */
  function marks(position) {
    const { offsets, flags } = pair.boxes;
    const counts = ["added", "moved", "changed"].map((mark) => {
      let count = 0;
      for (let row = offsets[position]; row < offsets[position + 1]; row++) if (flags[row] & pair.flags[mark]) count += 1;
      return [mark === "changed" ? "class changed" : mark, count];
    });
    counts.push(["dropped", pair.dropped.offsets[position + 1] - pair.dropped.offsets[position]]);
    const found = counts.filter(([, count]) => count).map(([mark, count]) => `${count} ${mark}`);
    return found.join(", ") || "all kept";
  }

  function drawPager(pages) {
    const pager = find("pager");
    if (pages < 2) return pager.replaceChildren();
    const step = (text, to) => {
      const made = Object.assign(document.createElement("button"), { type: "button", textContent: text, disabled: to < 0 || to >= pages });
      made.addEventListener("click", () => turn(to));
      return made;
    };
    const place = document.createElement("span");
    place.textContent = `page ${page + 1} of ${pages.toLocaleString("en")}`;
    return pager.replaceChildren(step("First", page ? 0 : -1), step("Previous page", page - 1), place, step("Next page", page + 1));
  }

  function reviewCount() {
    const { accepted, rejected, images, all } = decisions.counts(pair);
    find("review-count").textContent = all
      ? `Boxes: ${accepted} accepted, ${rejected} rejected; whole images: ${images}`
      : "No decisions yet: open an image and press a or r";
    find("download").disabled = find("forget").disabled = !all;
  }

  function report(error) {
    find("gallery-count").textContent = error.message;
  }

  return { show, refresh, redraw, reviewCount, report, doubtOf, pair: () => pair };
})();
