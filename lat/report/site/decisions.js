// The reader's decisions, stored in the browser under the hash of the labels file, and downloaded as one JSON file.
const decisions = (() => {
  const FORMAT = "lat review decisions";
  const states = new Map();

  function stateOf(pair) {
    const key = pair.labels.sha256;
    if (!states.has(key)) states.set(key, read(key) || { boxes: {}, images: {} });
    return states.get(key);
  }

  function read(key) {
    try {
      return JSON.parse(localStorage.getItem(`lat review ${key}`));
    } catch {
      return null; // some browsers store nothing for pages from disk: decisions then last as long as the page is open
    }
  }

  function write(key) {
    try {
      localStorage.setItem(`lat review ${key}`, JSON.stringify(states.get(key)));
    } catch {
      // as above
    }
  }

  /** Decide on a box or an image (`kind` is boxes or images): accept, reject, or "" to undo a decision. */
  function set(pair, kind, id, decision) {
    const chosen = stateOf(pair)[kind];
    if (decision) chosen[id] = decision;
    else delete chosen[id];
    write(pair.labels.sha256);
    document.dispatchEvent(new Event("decided"));
  }

  function forget(pair) {
    states.set(pair.labels.sha256, { boxes: {}, images: {} });
    write(pair.labels.sha256);
    document.dispatchEvent(new Event("decided"));
  }

  const ofImage = (pair, id) => stateOf(pair).images[id] || "";
  const ofBox = (pair, id) => stateOf(pair).boxes[id] || "";

  /** Numbers of accepted and rejected boxes and images. */
  function counts(pair) {
    const count = (chosen, decision) => Object.values(chosen).filter((one) => one === decision).length;
    const { boxes, images } = stateOf(pair);
    return {
      accepted: count(boxes, "accept"),
      rejected: count(boxes, "reject"),
      images: Object.keys(images).length,
      all: Object.keys(boxes).length + Object.keys(images).length,
    };
  }

  /** The decisions as `lat review apply` reads them. Only a page from disk knows the path of the labels file. */
  function content(pair) {
    const { boxes, images } = stateOf(pair);
    const url = new URL(pair.labels.file, location.href);
    const rows = (chosen, name) =>
      Object.entries(chosen)
        .map(([id, decision]) => ({ [name]: Number(id), decision }))
        .sort((one, other) => one[name] - other[name]);
    return {
      format: FORMAT,
      version: 1,
      source: pair.source,
      target: pair.target,
      labels: {
        file: url.protocol === "file:" ? filePath(url) : pair.labels.file,
        sha256: pair.labels.sha256,
      },
      boxes: rows(boxes, "annotation_id"),
      images: rows(images, "image_id"),
    };
  }

  const filePath = (url) => decodeURIComponent(url.pathname).replace(/^\/([A-Za-z]:)/, "$1");

  function download(pair) {
    const text = JSON.stringify(content(pair), null, 2) + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = `decisions.${pair.source}.${pair.target}.json`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  return { set, forget, ofImage, ofBox, counts, download };
})();
