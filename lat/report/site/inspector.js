// The list of an image's transferred labels, and the details of the chosen box.
const inspector = (() => {
  const find = (id) => document.getElementById(id);
  const PARTS = {
    score: "low score",
    margin: "another class scores close",
    agreement: "other label spaces disagree",
    spread: "boxes of the spaces differ",
    badly_located: "the target's detector places it elsewhere",
    swapped: "the target's detector sees another class",
    no_counterpart: "the human box is of a class unknown to the target",
  };

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  }

  function show(layers, chosen, decisionOn) {
    find("box-list").replaceChildren(...viewer.ranked().map((box) => line(box, chosen, decisionOn(box))));
    const found = Object.entries(layers).flatMap(([layer, boxes]) => (boxes || []).map((box) => [layer, box]))
      .find(([, box]) => box.key === chosen);
    find("box-details").replaceChildren(...(found ? details(layers, ...found, decisionOn) : [element("p", "hint", "Choose a box to see where it came from.")]));
  }

  function line(box, chosen, decision) {
    const item = element("li", decision ? `is-${decision}ed` : "");
    const pick = element("button", "pick");
    pick.type = "button";
    pick.append(element("span", "name", `${draw.glyphs({ ...box, decision })} ${box.name}`.trim()), element("span", "number", `score ${box.score.toFixed(2)}`), element("span", "number", `doubt ${Math.round(100 * box.doubt)} %`));
    if (box.key === chosen) pick.setAttribute("aria-current", "true");
    pick.addEventListener("click", () => viewer.choose(box.key));
    item.append(pick, choice(box, decision, "accept", "✓"), choice(box, decision, "reject", "✗"));
    return item;
  }

  function choice(box, decision, verb, sign) {
    const made = element("button", `choice ${verb}`, sign);
    made.type = "button";
    made.title = `${verb} this box`;
    made.setAttribute("aria-label", `${verb} ${box.name}, box ${box.id}`);
    made.setAttribute("aria-pressed", String(decision === verb));
    made.addEventListener("click", () => {
      viewer.choose(box.key);
      viewer.decide(decision === verb ? "" : verb);
    });
    return made;
  }

  function details(layers, layer, box, decisionOn) {
    const heading = element("h3", "", box.name);
    const facts = element("dl", "facts");
    const fact = (name, value) => {
      const row = element("div");
      row.append(element("dt", "", name), element("dd", "", value));
      facts.append(row);
    };
    fact("layer", `${{ source: "source ground truth", pseudo: "pseudo-labels", transferred: "transferred labels", truth: "truth" }[layer]}, annotation ${box.id}`);
    if (box.scored) fact("score", box.score.toFixed(2));
    fact("box", `${Math.round(box.width)} × ${Math.round(box.height)} pixels at ${Math.round(box.x)}, ${Math.round(box.y)}`);
    if (layer === "source" && box.dropped) fact("mark", "dropped: no transferred box matches it");
    if (layer !== "transferred") return [heading, facts];
    fact("mark", [box.mark, box.was && `class changed from ${box.was}`, box.low && "low confidence", box.disputed && "spaces disagree"].filter(Boolean).join(", "));
    if (box.sourceBox) fact("lies on", `${box.sourceBox.name}, annotation ${box.sourceBox.id} of ${viewer.space("source")}`);
    if (box.from) fact("came from", provenance(layers, box.from));
    const decision = decisionOn(box);
    fact("your decision", decision ? `${decision}ed` : "none yet");
    return [heading, facts, doubtBars(box)];
  }

  /** The proposal that a box came from, with its class there if its layer is shown. */
  function provenance(layers, from) {
    const isSource = from.origin === "ground_truth";
    const layer = isSource ? layers.source : from.space === viewer.space("pseudo") ? layers.pseudo : [];
    const box = layer.find((one) => one.id === from.id);
    const kind = isSource ? "ground truth" : "a pseudo-label";
    const number = from.id === null ? "" : `, annotation ${from.id}`;
    const what = box ? ` (${box.name}${isSource ? "" : ` ${box.score.toFixed(2)}`})` : "";
    return `${kind} in ${from.space}${number}${what}`;
  }

  function doubtBars(box) {
    const list = element("dl", "doubts");
    const counted = ([name]) => viewer.pair().counted.includes(name);
    const parts = [...box.parts.filter(counted), ...box.parts.filter((part) => !counted(part))];
    for (const [name, value] of [["doubt", box.doubt], ...parts]) {
      const row = element("div", name === "doubt" ? "total" : counted([name]) ? "" : "aside");
      const bar = element("meter");
      [bar.min, bar.max, bar.value] = [0, 1, value];
      bar.setAttribute("aria-hidden", "true");
      const share = element("dd", "", `${Math.round(100 * value)} %`);
      share.prepend(bar);
      row.append(element("dt", "", name === "doubt" ? "Total doubt" : PARTS[name] || name), share);
      list.append(row);
    }
    list.append(element("p", "hint", "Grey parts only explain; they do not count."));
    return list;
  }

  return { show };
})();
