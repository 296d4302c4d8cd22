// Pointing at a box or at its line in the list below highlights both. The page is complete without this.
(() => {
  const mark = (event, on) => {
    const item = event.target instanceof Element && event.target.closest("[data-box]");
    const panel = item && item.closest(".panel");
    if (!panel) return;
    for (const twin of panel.querySelectorAll("[data-box]")) {
      twin.classList.toggle("pointed", on && twin.dataset.box === item.dataset.box);
    }
    panel.classList.toggle("pointing", on);
  };
  document.addEventListener("pointerover", (event) => mark(event, true));
  document.addEventListener("pointerout", (event) => mark(event, false));
})();
