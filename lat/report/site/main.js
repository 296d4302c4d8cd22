// Choose a source and target by the URL's fragment, open the image that it names (`#SOURCE.TARGET/FILE`), and wire up the
// gallery's form.
(() => {
  const find = (id) => document.getElementById(id);
  const links = [...document.querySelectorAll("#pair-choice [data-pair]")];
  if (!links.length) return;
  const keys = links.map((link) => link.dataset.pair);
  let shown = "";

  async function follow() {
    const asked = decodeURIComponent(location.hash.slice(1));
    const [named, ...rest] = asked.split("/");
    const found = links.find((link) => named === link.dataset.pair || named === link.dataset.names);
    const key = found ? found.dataset.pair : shown || keys[0];
    if (key !== shown) {
      shown = key;
      for (const link of links) link.setAttribute("aria-current", String(link.dataset.pair === key));
      for (const figures of document.querySelectorAll(".pair-figures")) figures.hidden = figures.dataset.pair !== key;
      try {
        gallery.show(await lat.load(key));
      } catch (error) {
        gallery.report(error);
      }
    }
    if (found && rest.length) openImage(rest.join("/"));
    else if (found) find("pictures").scrollIntoView();
  }

  function openImage(name) {
    const pair = gallery.pair();
    const at = pair ? pair.images.names.indexOf(name) : -1;
    if (at >= 0) viewer.open(pair, pair.images.names.keys(), at);
  }

  let waiting = 0;
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(gallery.refresh, 150);
  };
  const form = find("filters");
  form.addEventListener("input", soon);
  form.addEventListener("reset", soon);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    gallery.refresh();
  });
  find("download").addEventListener("click", () => decisions.download(gallery.pair()));
  find("forget").addEventListener("click", () => {
    if (confirm("Discard all decisions on these labels?")) {
      decisions.forget(gallery.pair());
      gallery.redraw();
    }
  });
  document.addEventListener("decided", gallery.reviewCount);
  window.addEventListener("hashchange", follow);
  viewer.wire();
  follow();
})();
