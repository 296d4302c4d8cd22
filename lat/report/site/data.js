"use strict";
// Data that the page reads from the files beside it. They are scripts that call `lat.receive`, because a page opened from disk
// may not read other files.
const lat = (() => {
  const MOST_KEPT = 80;
  const waiting = new Map();
  const kept = new Map();

  function receive(key, value) {
    const resolve = waiting.get(key);
    waiting.delete(key);
    if (resolve) resolve(value);
  }

  /** A promise of the content of `data/KEY.js`; the latest requests are cached. */
  function load(key) {
    const promise = kept.get(key) || fetchScript(key);
    kept.delete(key);
    kept.set(key, promise);
    if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
    return promise;
  }

  function fetchScript(key) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `data/${key}.js`;
      waiting.set(key, resolve);
      script.addEventListener("load", () => script.remove());
      script.addEventListener("error", () => {
        script.remove();
        kept.delete(key);
        reject(new Error(`data/${key}.js is not beside this page: keep the folder together`));
      });
      document.head.append(script);
    });
  }

  /** All boxes of the image at a position of a pair, by layer: source, pseudo, transferred and truth. */
  async function image(pair, position) {
    const page = Math.floor(position / pair.pageImages);
    const columns = await load(`${pair.key}-${page}`);
    const i = position - page * pair.pageImages;
    const source = boxesOf(columns.source, i, pair.sourceClasses);
    const pseudo = boxesOf(columns.pseudo, i, pair.targetClasses);
    const transferred = boxesOf(columns.transferred, i, pair.targetClasses);
    for (const box of transferred) describe(box, columns.transferred, pair, source);
    for (const row of columns.dropped[i]) source[row].dropped = true;
    return { source, pseudo, transferred, truth: columns.truth && boxesOf(columns.truth, i, pair.targetClasses) };
  }

  function boxesOf(columns, i, classes) {
    const boxes = [];
    for (let row = columns.offsets[i]; row < columns.offsets[i + 1]; row++) {
      const [x1, y1, x2, y2] = columns.corners.slice(4 * row, 4 * row + 4);
      boxes.push({
        row,
        x: x1,
        y: y1,
        width: Math.max(x2 - x1, 0.5),
        height: Math.max(y2 - y1, 0.5),
        name: classes[columns.labels[row]],
        score: columns.scores[row] / 100,
        id: columns.ids[row],
        crowd: columns.crowds.includes(row),
      });
    }
    return boxes;
  }

  /** Add its marks, its doubt and its proposal to a transferred box. */
  function describe(box, columns, pair, source) {
    const flags = columns.flags[box.row];
    box.mark = ["kept", "moved", "added"].find((mark) => flags & pair.flags[mark]);
    box.low = Boolean(flags & pair.flags.low);
    box.disputed = Boolean(flags & pair.flags.disputed);
    box.was = columns.was[box.row] < 0 ? "" : pair.targetClasses[columns.was[box.row]];
    box.sourceBox = columns.sourceRows[box.row] < 0 ? null : source[columns.sourceRows[box.row]];
    box.doubt = columns.doubts[box.row] / 100;
    box.parts = pair.parts.map((name, part) => [name, columns.parts[part][box.row] / 100]);
    if (columns.origins) {
      const from = columns.from[box.row];
      box.from = { origin: columns.origins[box.row], space: pair.spaces[columns.spaces[box.row]], id: from > 0 ? from : null };
    }
  }

  return { receive, load, image };
})();
