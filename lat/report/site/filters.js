// Select and order the images of a pair for the gallery. An image is shown if one of its boxes meets all conditions.
const filters = (() => {
  /** The conditions of the form. */
  function read(form, pair) {
    const value = (name) => form.elements[name].value;
    const chosen = [...form.querySelectorAll("input[name=flag]:checked")].map((input) => input.value);
    const [side, label] = value("class").split(" ");
    return {
      mask: chosen.reduce((mask, flag) => mask | (pair.flags[flag] || 0), 0),
      dropped: chosen.includes("dropped"),
      overlooked: chosen.includes("overlooked"),
      side,
      label: Number(label),
      least: 100 * Number(value("least") || 0),
      most: 100 * Number(value("most") || 1),
      review: value("review"),
      name: value("name").toLowerCase(),
      order: value("order"),
    };
  }

  /** Positions of the images to show. */
  function choose(pair, wanted) {
    const anyFlag = wanted.mask > 0 || wanted.dropped || wanted.overlooked;
    const overlooked = new Set(wanted.overlooked && !wanted.side && !wanted.review ? pair.images.overlooked : []);
    const isOpen = !anyFlag && !wanted.side && wanted.least <= 0 && wanted.most >= 100 && !wanted.review;
    const found = [];
    for (let i = 0; i < pair.images.ids.length; i++) {
      if (wanted.name && !pair.images.names[i].toLowerCase().includes(wanted.name)) continue;
      if (isOpen || overlooked.has(i) || hasBox(pair, wanted, i, anyFlag) || hasDropped(pair, wanted, i, anyFlag)) found.push(i);
    }
    return sorted(pair, found, wanted.order);
  }

  function hasBox(pair, wanted, i, anyFlag) {
    const { offsets, labels, scores, flags, ids } = pair.boxes;
    if (wanted.side === "source" || (anyFlag && !wanted.mask)) return false;
    const ofImage = decisions.ofImage(pair, pair.images.ids[i]);
    for (let row = offsets[i]; row < offsets[i + 1]; row++) {
      if (anyFlag && !(flags[row] & wanted.mask)) continue;
      if (wanted.side && labels[row] !== wanted.label) continue;
      if (scores[row] < wanted.least || scores[row] > wanted.most) continue;
      const decision = decisions.ofBox(pair, ids[row]) || ofImage;
      if (wanted.review && decision !== (wanted.review === "open" ? "" : wanted.review)) continue;
      return true;
    }
    return false;
  }

  /** Whether dropped source boxes are wanted and the image has one; such boxes have no score and no decision. */
  function hasDropped(pair, wanted, i, anyFlag) {
    const { offsets, labels } = pair.dropped;
    if (wanted.side === "target" || wanted.review || (anyFlag ? !wanted.dropped : wanted.side !== "source")) return false;
    for (let row = offsets[i]; row < offsets[i + 1]; row++) {
      if (!wanted.side || labels[row] === wanted.label) return true;
    }
    return false;
  }

  function sorted(pair, found, order) {
    const { offsets, doubts, scores } = pair.boxes;
    const over = (values, i, best, start) => values.slice(offsets[i], offsets[i + 1]).reduce(best, start);
    const larger = (a, b) => Math.max(a, b);
    const smaller = (a, b) => Math.min(a, b);
    const key = {
      doubt: null, // images are already in this order
      file: (i) => pair.images.rows[i],
      box: (i) => -over(doubts, i, larger, -1),
      score: (i) => over(scores, i, smaller, 101),
    }[order];
    if (!key) return found;
    const keys = new Map(found.map((i) => [i, key(i)]));
    return found.sort((a, b) => keys.get(a) - keys.get(b) || a - b);
  }

  return { read, choose };
})();
