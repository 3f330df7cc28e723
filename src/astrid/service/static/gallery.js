// Fifty candidates at once: select many, give them one label.

import { all, choosers, element, find, isTyping, say, settings, tellOutbox } from "./dom.js";
import { candidateAddress, nameOf } from "./feed.js";
import { bytes, json, Refusal } from "./http.js";
import { Look } from "./look.js";
import { Outbox, key as newKey } from "./outbox.js";
import { draw, figures, unpack } from "./stamps.js";

const { task, user, profile, labels, actions } = settings();
const PAGE = 50;
const AT_ONCE = 6;

const outbox = new Outbox(user);
const look = new Look(find("#look"));
const list = find("#gallery");
const answered = new Set(outbox.waiting.filter(([, one]) => one.item).map(([, one]) => nameOf(one.item)));
let tiles = []; // {item, node, facts, said}
let anchor = 0; // where a range begins
let began = 0;
const groups = []; // answers that were given together, the latest last

async function fill() {
  let found;
  try {
    const query = new URLSearchParams({ task, n: PAGE + outbox.size });
    if (profile) query.set("profile", profile);
    found = await json(`/api/v1/labels/next?${query}`);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    say(`${error.message}; trying again`, "bad");
    if (error.passing) setTimeout(fill, 2000);
    return;
  }
  const items = found.items.filter((item) => !answered.has(nameOf(item))).slice(0, PAGE);
  tiles = items.map((item) => ({ item, node: tile(item), facts: null, said: null }));
  list.replaceChildren(...tiles.map(({ node }) => node));
  list.hidden = !tiles.length;
  find("#done").hidden = tiles.length > 0;
  find("#count").textContent = `${tiles.length} of ${found.remaining.toLocaleString("en")} that wait`;
  groups.length = 0;
  anchor = 0;
  began = performance.now();
  if (tiles.length) {
    tiles[0].node.tabIndex = 0;
    tiles[0].node.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  enable();
  const waiting = [...tiles];
  const worker = async () => {
    for (let one = waiting.shift(); one; one = waiting.shift()) await load(one);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  document.body.dataset.page = String(Number(document.body.dataset.page ?? 0) + 1);
}

const tile = (item) =>
  element(
    "li",
    { class: "tile", role: "option", "aria-selected": "false", tabindex: "-1", "aria-label": item.object_id || item.alert_id },
    element("div", { class: "stamps" }),
    element("p", {}, element("b", {}, item.object_id || item.alert_id), element("span", { class: "short" })),
  );

async function load(one) {
  for (let turn = 0; turn < 5 && one.node.isConnected; turn++) {
    try {
      one.facts = unpack(await bytes(candidateAddress(task, one.item, "images")));
      find(".stamps", one.node).replaceChildren(...figures(one.facts.planes, look));
      find(".short", one.node).textContent = one.facts.short;
      return;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      find(".short", one.node).textContent = error.message;
      if (!error.passing) return;
      await new Promise((done) => setTimeout(done, 1500));
    }
  }
}

const selected = () => tiles.filter(({ node }) => node.getAttribute("aria-selected") === "true");
const focused = () => tiles.findIndex(({ node }) => node === document.activeElement);

function select(k, on = tiles[k].node.getAttribute("aria-selected") !== "true") {
  if (tiles[k].said === null) tiles[k].node.setAttribute("aria-selected", String(on));
  enable();
}

function range(to) {
  const [low, high] = [Math.min(anchor, to), Math.max(anchor, to)];
  for (let k = low; k <= high; k++) select(k, true);
}

function move(to) {
  if (to < 0 || to >= tiles.length) return;
  for (const { node } of tiles) node.tabIndex = -1;
  tiles[to].node.tabIndex = 0;
  tiles[to].node.focus();
}

function everything() {
  const open = tiles.filter(({ said }) => said === null);
  const on = open.some(({ node }) => node.getAttribute("aria-selected") !== "true");
  for (const { node } of open) node.setAttribute("aria-selected", String(on));
  enable();
}

function enable() {
  const n = selected().length;
  for (const button of all(".answers [data-label], .answers [data-answer]")) button.disabled = n === 0;
  find("#undo").disabled = groups.length === 0;
  const open = tiles.filter(({ said }) => said === null).length;
  if (n) say(`${n} selected`);
  else say(tiles.length ? `${open} open` : "");
}

function answer(kind, label = null) {
  const chosen = selected();
  if (!chosen.length) return say("select candidates first", "bad");
  const now = performance.now();
  const seconds = Math.round((now - began) / chosen.length) / 1000;
  began = now;
  const text = kind === "label" ? label : kind === "skip" ? "skipped" : "can't tell";
  const group = chosen.map((one) => {
    const key = newKey();
    const { survey, alert_id } = one.item;
    const body = { key, task, survey, alert_id, answer: kind, label, seconds, shown: false, tags: [], note: "" };
    outbox.add({ method: "POST", address: "/api/v1/labels", body, item: { survey, alert_id } });
    answered.add(nameOf(one.item));
    one.said = text;
    one.node.setAttribute("aria-selected", "false");
    one.node.classList.add("answered");
    one.node.append(element("span", { class: `tag said ${label === "real" || label === "bogus" ? label : ""}` }, text));
    return { one, key };
  });
  groups.push(group);
  enable();
  say(`${group.length} × ${text}`, "good");
}

function undo() {
  const group = groups.pop();
  if (!group) return;
  for (const { one, key } of group) {
    outbox.add({ method: "DELETE", address: `/api/v1/labels/${encodeURIComponent(key)}` });
    answered.delete(nameOf(one.item));
    one.said = null;
    one.node.classList.remove("answered");
    find(".said", one.node)?.remove();
    one.node.setAttribute("aria-selected", "true");
  }
  enable();
}

function next() {
  const open = tiles.filter(({ said }) => said === null).length;
  // what was left open comes again, and first: it is still ours
  say(open ? `${open} left open come again` : "");
  fill();
}

list.addEventListener("click", (event) => {
  const k = tiles.findIndex(({ node }) => node === event.target.closest(".tile"));
  if (k < 0) return;
  move(k);
  if (event.shiftKey) range(k);
  else {
    select(k);
    anchor = k;
  }
});

const byKey = new Map(labels.flatMap(({ name, keys }) => keys.map((one) => [one, name])));

addEventListener("keydown", (event) => {
  if (isTyping(event)) return;
  const at = focused();
  const onButton = event.target.closest?.("button, a");
  const columns = getComputedStyle(list).gridTemplateColumns.split(" ").length;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
  if (event.key in steps && at >= 0) {
    move(at + steps[event.key]);
    if (event.shiftKey && focused() >= 0) range(focused());
    else anchor = Math.max(0, focused());
  } else if (event.key === " " && at >= 0) {
    if (event.shiftKey) range(at);
    else {
      select(at);
      anchor = at;
    }
  } else if (event.key === "Enter" && !onButton) next();
  else if (event.key === "x") everything();
  else if (event.key === actions.undo) undo();
  else if (event.key === actions.unsure) answer("unsure");
  else if (event.key === actions.skip) answer("skip");
  else if (byKey.has(event.key)) answer("label", byKey.get(event.key));
  else if (!look.press(event.key)) return;
  event.preventDefault();
});

for (const button of all(".answers [data-label]")) {
  button.addEventListener("click", () => answer("label", button.dataset.label));
}
for (const button of all(".answers [data-answer]")) {
  button.addEventListener("click", () => answer(button.dataset.answer));
}
for (const [id, command] of Object.entries({ "#undo": undo, "#next": next, "#all": everything })) {
  find(id).addEventListener("click", command);
}
choosers();
look.addEventListener("change", () => {
  for (const { node, facts } of tiles) {
    if (facts) all("canvas", node).forEach((canvas, k) => draw(canvas, drawn(facts)[k], look));
  }
});
const drawn = ({ planes }) => planes.filter((plane) => !plane.problem);
const tell = () => tellOutbox(find("#outbox"), outbox);
outbox.addEventListener("change", tell);
outbox.addEventListener("refused", ({ detail: { error } }) => say(`an answer was refused: ${error.message}`, "bad"));
tell();
fill();
