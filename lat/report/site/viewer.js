// The viewer: one image with a panel per layer, its keys, and the decisions on its boxes.
const viewer = (() => {
  const LAYERS = ["source", "pseudo", "transferred", "truth"];
  const TITLES = { source: "Source ground truth", pseudo: "Pseudo-labels", transferred: "Transferred labels", truth: "Truth" };
  const find = (id) => document.getElementById(id);
  const hidden = new Set();
  let pair = null;
  let order = [];
  let place = 0;
  let layers = null;
  let chosen = ""; // the key of a box: its layer and its id
  let returnTo = null;

  const position = () => order[place];
  const imageId = () => pair.images.ids[position()];
  const space = (layer) => (layer === "source" ? pair.source : pair.target);

  async function open(ofPair, inOrder, at) {
    [pair, order, returnTo] = [ofPair, [...inOrder], document.activeElement];
    if (!find("viewer").open) find("viewer").showModal();
    find("viewer-title").focus();
    await show(at);
  }

  async function show(at) {
    if (at < 0 || at >= order.length) return;
    place = at;
    const loaded = await lat.image(pair, order[at]);
    if (at !== place) return; // the reader has moved on in the meantime
    layers = loaded;
    for (const layer of LAYERS) {
      for (const box of layers[layer] || []) {
        box.key = `${layer} ${box.id}`;
        box.scored = layer === "pseudo" || layer === "transferred";
      }
    }
    chosen = "";
    const name = pair.images.names[position()];
    find("viewer-title").textContent = name;
    link(`${pair.source}.${pair.target}/${name.split("/").map(encodeURIComponent).join("/")}`);
    find("viewer-place").textContent =
      `${(place + 1).toLocaleString("en")} of ${order.length.toLocaleString("en")}, ${pair.source} to ${pair.target}, ${gallery.doubtOf(pair, position())}`;
    for (const [name, off] of [["previous", place === 0], ["next", place === order.length - 1]]) button(name).disabled = off;
    layerSwitches();
    panels();
    if (place + 1 < order.length) lat.image(pair, order[place + 1]).then(() => { new Image().src = draw.pictureUrl(pair, order[place + 1]); });
  }

  /** Let the address of the page be that of what it shows. */
  const link = (fragment) => history.replaceState(null, "", `#${fragment}`);

  const button = (name) => find("viewer").querySelector(`[data-do="${name}"]`);
  const present = () => LAYERS.filter((layer) => layers[layer]);

  function layerSwitches() {
    const switches = present().map((layer, i) => {
      const input = Object.assign(document.createElement("input"), { type: "checkbox", checked: !hidden.has(layer), name: layer });
      input.addEventListener("change", () => toggle(layer));
      const label = document.createElement("label");
      label.className = `item layer-${layer}`;
      label.title = `Key ${i + 1}`;
      label.append(input, TITLES[layer]);
      return label;
    });
    find("layers").replaceChildren(...switches);
  }

  function toggle(layer) {
    if (!hidden.delete(layer)) hidden.add(layer);
    if (present().every((one) => hidden.has(one))) hidden.delete(layer); // at least one layer stays visible
    for (const input of find("layers").querySelectorAll("input")) input.checked = !hidden.has(input.name);
    panels();
  }

  /** Rebuild the panels for another image or another choice of layers; the zoom starts at the whole image. */
  function panels() {
    const shown = present().filter((layer) => !hidden.has(layer));
    const groups = find("show-overlay").checked ? [shown] : shown.map((layer) => [layer]);
    find("panels").className = `panels of-${groups.length}`;
    find("viewer").classList.toggle("is-overlay", find("show-overlay").checked);
    find("panels").replaceChildren(...groups.map(panel));
    zoom.start(pair.images.widths[position()], pair.images.heights[position()], redraw);
  }

  function panel(group) {
    const made = document.createElement("figure");
    made.className = "panel";
    const caption = document.createElement("figcaption");
    const named = group.map((layer) => `${TITLES[layer]} in ${space(layer)}`).join(", ");
    const counts = group.length === 1 ? draw.classCounts(layers[group[0]]) : "";
    caption.textContent = group.length === 1 ? named : "All chosen layers";
    const small = document.createElement("small");
    small.textContent = counts;
    caption.append(small);
    const svg = draw.element("svg", { class: "view", role: "img", "aria-label": `${named}: ${counts}` }, ...draw.picture(pair, position()), draw.element("g", { class: "marks" }));
    svg.dataset.layers = group.join(" ");
    const aspect = pair.images.widths[position()] / pair.images.heights[position()];
    svg.style.aspectRatio = aspect;
    svg.style.setProperty("--aspect", aspect);
    svg.addEventListener("click", (event) => choose(event.target.closest("[data-box]")?.dataset.box || ""));
    zoom.attach(svg);
    made.append(caption, svg);
    return made;
  }

  /** The boxes that a panel draws: the panel of transferred labels also shows dropped source boxes. */
  function boxesOf(group) {
    const boxes = group.flatMap((layer) => layers[layer].map((box) => {
      if (layer === "transferred") return { ...box, layer, decision: decisionOn(box) };
      return { ...box, layer, dropped: false };
    }));
    const droppedToo = group.length === 1 && group[0] === "transferred";
    return droppedToo ? [...layers.source.filter((box) => box.dropped).map((box) => ({ ...box, layer: "source" })), ...boxes] : boxes;
  }

  const decisionOn = (box) => decisions.ofBox(pair, box.id) || decisions.ofImage(pair, imageId());

  function redraw() {
    if (!layers) return;
    const view = zoom.view();
    for (const svg of find("panels").querySelectorAll("svg.view")) {
      svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
      const unit = view.width / (svg.getBoundingClientRect().width || 400);
      const group = svg.dataset.layers.split(" ");
      const boxes = boxesOf(group);
      const drawn = draw.byArea(boxes).map((box) => {
        const made = draw.outline(box, unit);
        made.classList.toggle("chosen", box.key === chosen);
        if (group.length > 1) made.classList.add(`layer-${box.layer}`);
        return made;
      });
      const tagged = group.length > 1 ? boxes.filter((box) => box.layer === "transferred") : boxes;
      const tags = find("show-tags").checked ? draw.tags(tagged, view, unit) : [];
      svg.querySelector(".marks").replaceChildren(...drawn, ...tags);
    }
    find("zoom-level").textContent = `${Math.round(100 * zoom.level())} %`;
    find("image-decision").textContent = { accept: "accepted", reject: "rejected" }[decisions.ofImage(pair, imageId())] || "";
    inspector.show(layers, chosen, decisionOn);
  }

  function choose(key) {
    chosen = key;
    redraw();
    const list = find("inspector");
    if (list.scrollHeight > list.clientHeight) list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  }

  const ranked = () => [...layers.transferred].sort((a, b) => b.doubt - a.doubt || a.row - b.row);

  function step(by) {
    const boxes = ranked();
    if (!boxes.length) return;
    const at = boxes.findIndex((box) => box.key === chosen);
    choose(boxes[at < 0 ? (by > 0 ? 0 : boxes.length - 1) : Math.min(Math.max(at + by, 0), boxes.length - 1)].key);
  }

  /** Decide on the chosen box, by default the most doubtful one. */
  function decide(decision) {
    const box = layers.transferred.find((one) => one.key === chosen) || ranked()[0];
    if (!box) return;
    decisions.set(pair, "boxes", box.id, decision);
    chosen = box.key;
    if (decision) step(1);
    redraw();
  }

  function decideImage(decision) {
    decisions.set(pair, "images", imageId(), decision);
    redraw();
  }

  function close() {
    find("viewer").close();
  }

  function closed() {
    link(`${pair.source}.${pair.target}`);
    gallery.redraw();
    const card = find("cards").querySelectorAll("button")[place % 24];
    (card || returnTo)?.focus();
  }

  const actions = {
    next: () => show(place + 1),
    previous: () => show(place - 1),
    in: () => zoom.by(1.5),
    out: () => zoom.by(1 / 1.5),
    whole: () => zoom.whole(),
    help: () => find("help").showModal(),
    close,
    "accept-image": () => decideImage("accept"),
    "reject-image": () => decideImage("reject"),
  };

  const keys = {
    ArrowRight: actions.next, n: actions.next, ArrowLeft: actions.previous, p: actions.previous,
    ArrowDown: () => step(1), j: () => step(1), ArrowUp: () => step(-1), k: () => step(-1),
    a: () => decide("accept"), r: () => decide("reject"), u: () => decide(""),
    A: actions["accept-image"], R: actions["reject-image"], U: () => decideImage(""),
    "+": actions.in, "=": actions.in, "-": actions.out, 0: actions.whole, "?": actions.help,
    o: () => find("show-overlay").click(), t: () => find("show-tags").click(),
  };

  function pressed(event) {
    if (!find("viewer").open || find("help").open || event.ctrlKey || event.metaKey || event.altKey) return;
    const layer = present()[Number(event.key) - 1];
    const action = layer ? () => toggle(layer) : keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  function wire() {
    document.addEventListener("keydown", pressed); // not on the dialog: a disabled button loses the focus
    find("viewer").addEventListener("close", closed);
    find("viewer").addEventListener("click", (event) => actions[event.target.closest("[data-do]")?.dataset.do]?.());
    find("show-tags").addEventListener("change", redraw);
    find("show-overlay").addEventListener("change", panels);
    window.addEventListener("resize", () => { if (find("viewer").open) redraw(); });
  }

  return { open, choose, decide, wire, ranked, space, pair: () => pair };
})();
