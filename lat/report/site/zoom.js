// One view of the image for all panels: zooming or panning in one moves all.
const zoom = (() => {
  const MOST = 40;
  let size = { width: 1, height: 1 };
  let view = { x: 0, y: 0, width: 1, height: 1 };
  let changed = () => {};

  function start(width, height, listener) {
    size = { width, height };
    changed = listener;
    whole();
  }

  function whole() {
    view = { x: 0, y: 0, ...size };
    changed();
  }

  const level = () => size.width / view.width;

  /** Zoom by a factor, keeping a point (in pixels of the image) fixed; by default the middle. */
  function by(factor, x = view.x + view.width / 2, y = view.y + view.height / 2) {
    const next = Math.min(Math.max(level() * factor, 1), MOST);
    const shrink = level() / next;
    set(x - (x - view.x) * shrink, y - (y - view.y) * shrink, size.width / next);
  }

  function set(x, y, width) {
    const height = (width * size.height) / size.width;
    const within = (value, most) => Math.min(Math.max(value, 0), Math.max(most, 0));
    view = { x: within(x, size.width - width), y: within(y, size.height - height), width, height };
    changed();
  }

  /** Wheel and drag on a panel. */
  function attach(svg) {
    const point = (event) => {
      const area = svg.getBoundingClientRect();
      return [
        view.x + ((event.clientX - area.left) / area.width) * view.width,
        view.y + ((event.clientY - area.top) / area.height) * view.height,
      ];
    };
    svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      by(Math.exp(-event.deltaY / 400), ...point(event));
    }, { passive: false });
    let last = null;
    svg.addEventListener("pointerdown", (event) => {
      if (event.button === 0) last = [event.clientX, event.clientY];
    });
    svg.addEventListener("pointermove", (event) => {
      if (!last || !(event.buttons & 1) || level() === 1) return;
      if (!svg.hasPointerCapture(event.pointerId)) {
        if (Math.hypot(event.clientX - last[0], event.clientY - last[1]) < 4) return; // a shaky click
        svg.setPointerCapture(event.pointerId);
      }
      const unit = view.width / svg.getBoundingClientRect().width;
      set(view.x - (event.clientX - last[0]) * unit, view.y - (event.clientY - last[1]) * unit, view.width);
      last = [event.clientX, event.clientY];
    });
    svg.addEventListener("pointerup", () => { last = null; });
  }

  return { start, whole, by, attach, level, view: () => view };
})();
