// How images are shown: stretch, inversion, zoom; chosen once, kept in the browser, the same on all pages.

import { all, find } from "./dom.js";

const NAME = "astrid.look";
const STRETCHES = ["asinh", "linear", "zscale"];
const ZOOMS = [1, 2, 4];

export class Look extends EventTarget {
  stretch = "asinh";
  invert = false;
  zoom = 1;

  constructor(bar) {
    super();
    const kept = recalled(NAME);
    if (STRETCHES.includes(kept.stretch)) this.stretch = kept.stretch;
    if (ZOOMS.includes(kept.zoom)) this.zoom = kept.zoom;
    this.invert = kept.invert === true;
    this.bar = bar;
    bar?.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.stretch) this.set({ stretch: button.dataset.stretch });
      else if (button.dataset.zoom) this.set({ zoom: Number(button.dataset.zoom) });
      else if ("invert" in button.dataset) this.set({ invert: !this.invert });
    });
    this.#press();
  }

  set(changes) {
    Object.assign(this, changes);
    const { stretch, invert, zoom } = this;
    keep(NAME, { stretch, invert, zoom });
    this.#press();
    this.dispatchEvent(new Event("change"));
  }

  /** One of the keys of the bar; true if it was. */
  press(key) {
    const zoom = ZOOMS.indexOf(this.zoom);
    if (key === "a") this.set({ stretch: STRETCHES[(STRETCHES.indexOf(this.stretch) + 1) % STRETCHES.length] });
    else if (key === "i") this.set({ invert: !this.invert });
    else if (key === "+" || key === "=") this.set({ zoom: ZOOMS[Math.min(zoom + 1, ZOOMS.length - 1)] });
    else if (key === "-") this.set({ zoom: ZOOMS[Math.max(zoom - 1, 0)] });
    else return false;
    return true;
  }

  #press() {
    if (!this.bar) return;
    const mark = (button, on) => button.setAttribute("aria-pressed", String(on));
    for (const button of all("[data-stretch]", this.bar)) mark(button, button.dataset.stretch === this.stretch);
    for (const button of all("[data-zoom]", this.bar)) mark(button, Number(button.dataset.zoom) === this.zoom);
    mark(find("[data-invert]", this.bar), this.invert);
  }
}

/** What the browser has kept of us under a name: an object, empty where there is nothing that can be used. */
export function recalled(name) {
  try {
    const found = JSON.parse(localStorage.getItem(name));
    return found && typeof found === "object" ? found : {};
  } catch {
    return {};
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // full or forbidden: chosen again next time
  }
}
