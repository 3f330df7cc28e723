"use strict";
(() => {
  const $ = (selector) => document.querySelector(selector);
  const $$ = (selector) => [...document.querySelectorAll(selector)];

  // which candidates are shown, and in which order: cards and table rows alike
  const tools = $("#tools");
  if (tools) {
    tools.hidden = false;
    const groups = ["#cards", "#rows"].map($).filter(Boolean);
    const apply = () => {
      const clean = $("#only-clean").checked, sign = $("#sign").value;
      const least = Math.abs(parseFloat($("#least").value)) || 0, key = $("#order").value;
      let shown = 0, all = 0;
      for (const group of groups) {
        const items = [...group.children];
        const value = (item) => parseFloat(item.dataset[key]);
        items.sort((a, b) => {
          if (key === "default") return a.dataset.place - b.dataset.place;
          const x = value(a), y = value(b);
          return (isNaN(x) - isNaN(y)) || (key === "snr" ? Math.abs(y) - Math.abs(x) : x - y);
        });
        shown = 0; all = items.length;
        for (const item of items) {
          const snr = parseFloat(item.dataset.snr);
          item.hidden = (clean && item.dataset.clean !== "1") || Math.abs(snr) < least
            || (sign === "new" && snr < 0) || (sign === "gone" && snr > 0);
          if (!item.hidden) shown += 1;
        }
        group.append(...items);
      }
      $("#count").textContent = `${shown} of ${all} shown`;
    };
    for (const control of tools.querySelectorAll("input, select")) control.addEventListener("input", apply);
    apply();
  }
  const circles = $("#circles");
  if (circles) {
    circles.closest("label").hidden = false;
    circles.addEventListener("input", () => document.body.classList.toggle("bare", !circles.checked));
  }

  // the viewer: one large image, the four of them a key apart, and blinking
  const viewer = $("#viewer"), stage = $("#viewer-stage"), bar = $("#viewer-bar");
  const figures = $$(".images figure");
  if (!viewer || !viewer.showModal || !figures.length) return;
  let current = 0, timer = null;
  const buttons = figures.map((figure, i) => add(figure.dataset.title, () => { stop(); show(i); }));
  const blink = add("Blink", () => (timer ? stop() : start()));
  add("Circles", () => { circles.checked = !circles.checked; circles.dispatchEvent(new Event("input")); });
  add("Close", () => viewer.close());
  function add(text, act) {
    const button = document.createElement("button");
    button.type = "button"; button.textContent = text; button.addEventListener("click", act);
    bar.append(button);
    return button;
  }
  function show(i) {
    current = i;
    const sky = figures[i].querySelector(".sky").cloneNode(true);
    sky.removeAttribute("role"); sky.removeAttribute("tabindex");
    const size = sky.querySelector("img");
    stage.style.setProperty("--aspect", size.getAttribute("width") / size.getAttribute("height"));
    stage.replaceChildren(sky);
    buttons.forEach((button, j) => button.setAttribute("aria-pressed", i === j));
  }
  function start() { show(0); timer = setInterval(() => show(current === 0 ? 1 : 0), 600); blink.setAttribute("aria-pressed", true); }
  function stop() { clearInterval(timer); timer = null; blink.setAttribute("aria-pressed", false); }
  figures.forEach((figure, i) => {
    const sky = figure.querySelector(".sky");
    sky.style.cursor = "zoom-in"; sky.tabIndex = 0; sky.setAttribute("role", "button");
    const open = () => { show(i); viewer.showModal(); };
    sky.addEventListener("click", (event) => { if (!event.target.closest("a")) open(); });
    sky.addEventListener("keydown", (event) => { if (event.key === "Enter" && event.target === sky) open(); });
  });
  viewer.addEventListener("close", stop);
  viewer.addEventListener("keydown", (event) => {
    const i = "1234".indexOf(event.key);
    if (i >= 0 && i < figures.length) { stop(); show(i); }
    if (event.key === "b") timer ? stop() : start();
  });
  stage.addEventListener("click", (event) => { if (event.target.closest("a")) viewer.close(); });
})();
