// One object: its light curve, and one of its alerts with its images.

import { all, element, find, isTyping, say, settings } from "./dom.js";
import { factList, linkList, neighbourList, scoreList } from "./facts.js";
import { candidateAddress } from "./feed.js";
import { bytes, Refusal } from "./http.js";
import { LightCurve } from "./lightcurve.js";
import { Look } from "./look.js";
import { draw, figures, pixelAt, unpack } from "./stamps.js";

const { survey, alert, task, curve } = settings();
const look = new Look(find("#look"));
let facts = null;

async function show(alert_id) {
  let found;
  try {
    found = unpack(await bytes(candidateAddress(task, { survey, alert_id })));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return say(error.message, "bad");
  }
  facts = found;
  find("#alert-name").textContent = alert_id;
  find("#stamps").replaceChildren(...figures(facts.planes, look));
  find("#scores").replaceChildren(...scoreList(facts.scores));
  find("#facts").replaceChildren(factList(facts.facts));
  find("#more").replaceChildren(facts.more.length ? factList(facts.more) : element("p", { class: "none" }, "nothing more"));
  find("#neighbours").replaceChildren(neighbourList(facts.neighbours));
  find("#links").replaceChildren(linkList(facts.links));
  for (const link of all("[data-alert]")) {
    if (link.dataset.alert === alert_id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  document.body.dataset.item = `${survey}/${alert_id}`;
}

for (const link of all("[data-alert]")) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(link.dataset.alert);
  });
}
addEventListener("keydown", (event) => {
  if (!isTyping(event) && look.press(event.key)) event.preventDefault();
});
look.addEventListener("change", () => {
  all("#stamps .stamp").forEach((figure, k) => {
    const canvas = find("canvas", figure);
    if (canvas) draw(canvas, facts.planes[k], look);
  });
});
find("#stamps").addEventListener("pointermove", (event) => {
  const canvas = event.target.closest("canvas");
  const plane = facts?.planes[all("#stamps .stamp").indexOf(canvas?.closest(".stamp"))];
  const pixel = plane?.pixels && pixelAt(canvas, plane, event);
  const text = pixel && (Number.isFinite(pixel.value) ? pixel.value.toPrecision(4) : "no value");
  find("#pixel").textContent = pixel ? `${plane.name} (${pixel.x}, ${pixel.y}): ${text}` : "";
});
new LightCurve(find("#curve")).show(curve);
show(alert);
