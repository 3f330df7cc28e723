// One candidate at a time: see it, press a key, see the next.

import { all, choosers, element, find, isTyping, say, settings, tellOutbox } from "./dom.js";
import { factList, linkList, neighbourList, scoreList } from "./facts.js";
import { Feed, nameOf } from "./feed.js";
import { LightCurve } from "./lightcurve.js";
import { Look, keep, recalled } from "./look.js";
import { Outbox, key as newKey } from "./outbox.js";
import { draw, figures, pixelAt } from "./stamps.js";
import { Refusal, json } from "./http.js";

const { task, user, profile, labels, actions } = settings();
const REMEMBERED = 100; // answers that can be undone

const choices = { hide: true, advance: true, ...recalled("astrid.scan") };
const outbox = new Outbox(user);
const ours = ({ address, body }) => address.startsWith("/api/v1/labels") && (body === undefined || body.task === task);
const feed = new Feed({ task, profile, unsent: () => outbox.size });
feed.leaveOut(outbox.waiting.filter(([, message]) => ours(message) && message.item).map(([, message]) => message.item));
const look = new Look(find("#look"));
const curve = new LightCurve(find("#curve"));

let current = null; // the entry of the feed that is on the screen
let seen = 0; // when it came there, ms
let away = 0; // ms of that time in which the page was not visible
let hiddenAt = null;
let shown = false; // whether the models' opinion was there before the answer
let given = null; // the answer to what is on the screen, where the page does not go on by itself
let done = 0;
let extra = { tags: [], note: "" };
const history = []; // {entry, key, extra}, the latest last

// What is on the screen

function show() {
  const entry = feed.first;
  const ready = entry?.facts != null;
  const empty = !entry && (feed.exhausted || feed.trouble);
  find("#stage").hidden = !entry;
  find("#done").hidden = !empty;
  if (empty) over();
  if (!ready) {
    given = null;
    if (entry || !empty) find("#name").textContent = feed.trouble ? "waiting for the server" : "…";
    current = null;
    delete document.body.dataset.item;
    enable();
    return;
  }
  if (current === entry) return;
  current = entry;
  given = null;
  extra = entry.extra ?? { tags: [], note: "" };
  shown = !choices.hide;
  const { facts, item } = entry;
  find("#name").replaceChildren(
    facts.object ? element("a", { href: facts.object, id: "object" }, item.object_id || item.alert_id) : item.alert_id,
  );
  find("#why").textContent = item.slot ? `asked because: ${item.slot}` : "";
  if (facts.problem) {
    find("#stamps").replaceChildren(element("p", { class: "none" }, facts.problem));
    for (const id of ["#facts", "#more", "#neighbours", "#links", "#scores", "#curve"]) find(id).replaceChildren();
  } else {
    find("#stamps").replaceChildren(...figures(facts.planes, look));
    find("#scores").replaceChildren(...scoreList(facts.scores));
    find("#facts").replaceChildren(factList(facts.facts));
    find("#more").replaceChildren(facts.more.length ? factList(facts.more) : element("p", { class: "none" }, "nothing more"));
    find("#neighbours").replaceChildren(neighbourList(facts.neighbours));
    find("#links").replaceChildren(linkList(facts.links));
    curve.show(facts.curve);
  }
  find("#explained").textContent = "";
  find("#pixel").textContent = "";
  veil();
  chosen();
  enable();
  seen = performance.now();
  away = 0;
  hiddenAt = document.hidden ? seen : null;
  document.body.dataset.item = nameOf(item);
  count();
}

function over() {
  const trouble = feed.trouble;
  find("#done-title").textContent = trouble ? "The server does not answer" : "Nothing is left to ask";
  find("#done-text").textContent = trouble
    ? `${trouble.message}; answers are kept here and sent as soon as it does.`
    : "Every item of this queue has an answer, or is on somebody else's screen.";
  find("#name").textContent = trouble ? "waiting for the server" : "done";
}

function veil() {
  find("#veil").hidden = shown;
  find("#opinion").hidden = !shown;
}

function enable() {
  const can = current !== null && given === null;
  for (const button of all(".answers [data-label], .answers [data-answer], #tags, #note")) button.disabled = !can;
  find("#undo").disabled = history.length === 0;
  find("#next").disabled = current === null;
}

function count() {
  const left = feed.remaining === null ? "" : ` · ${Math.max(0, feed.remaining).toLocaleString("en")} left`;
  find("#progress").textContent = `${done} answered${left}`;
  tellOutbox(find("#outbox"), outbox);
}

function chosen() {
  const line = find("#with");
  line.hidden = !extra.tags.length && !extra.note;
  line.replaceChildren(
    ...extra.tags.map((name) => element("span", { class: "tag" }, name.replaceAll("_", " "))),
    ...(extra.note ? [element("span", {}, `“${extra.note.slice(0, 120)}${extra.note.length > 120 ? "…" : ""}”`)] : []),
  );
  for (const button of all("#tag-groups button")) {
    button.setAttribute("aria-pressed", String(extra.tags.includes(button.dataset.tag)));
  }
}

// What a person does

function answer(kind, label = null) {
  if (!current || given) return;
  const key = newKey();
  const { item } = current;
  const seconds = Math.round(performance.now() - seen - away) / 1000;
  const body = { key, task, survey: item.survey, alert_id: item.alert_id, answer: kind, label, seconds, shown, ...extra };
  outbox.add({ method: "POST", address: "/api/v1/labels", body, item: { survey: item.survey, alert_id: item.alert_id } });
  history.push({ entry: current, key, extra, counted: true });
  if (history.length > REMEMBERED) history.shift();
  done++;
  if (feed.remaining !== null) feed.remaining--;
  given = { kind, label };
  const words = kind === "label" ? label.replaceAll("_", " ") : kind === "skip" ? "skipped" : "can't tell";
  const best = current.facts.scores?.find((one) => one.of_task && one.values.length);
  const said = best ? ` · ${best.bundle}: ${best.values[0].text}${best.decision ? ` ${best.decision}` : ""}` : "";
  const name = item.object_id || item.alert_id;
  find("#last").textContent = `${name}: ${words}${said}`;
  say(`${words}: ${name}`);
  count();
  if (choices.advance) next();
  else {
    shown = true;
    veil();
    enable();
  }
}

function next() {
  if (!current) return;
  if (given) feed.shift();
  else {
    current.extra = extra;
    feed.postpone();
    current = null;
  }
  show();
}

function undo() {
  const last = history.pop();
  if (!last) return;
  outbox.add({ method: "DELETE", address: `/api/v1/labels/${encodeURIComponent(last.key)}` });
  done--;
  if (feed.remaining !== null) feed.remaining++;
  last.entry.extra = last.extra;
  current = null;
  feed.unshift(last.entry);
  say(`taken back: ${last.entry.item.object_id || last.entry.item.alert_id}`);
  find("#last").textContent = "";
  show();
}

function reveal() {
  if (!current) return;
  shown = true;
  veil();
}

async function explain() {
  if (!current || !shown) return;
  const { item, facts } = current;
  const score = facts.scores?.find((one) => one.of_task && one.values.length);
  const line = find("#explained");
  if (!score) {
    line.textContent = "no model of this task has scored it";
    return;
  }
  line.textContent = "asking the model …";
  const entry = current;
  try {
    const [survey, alert] = [item.survey, item.alert_id].map(encodeURIComponent);
    const query = new URLSearchParams({ model: score.bundle, method: "occlusion_by_channel" });
    const found = await json(`/api/v1/candidates/${survey}/${alert}/explanations?${query}`, { timeout: 60000 });
    if (current !== entry) return;
    const [name] = Object.keys(found.values);
    const values = found.values[name];
    const limit = Math.max(...values.flat(2).map(Math.abs), 1e-12);
    all("#stamps .stamp").forEach((figure, k) => {
      find(".heat", figure)?.remove();
      const channel = found.features[name].indexOf(facts.planes[k].name);
      if (channel < 0 || look.zoom !== 1) return;
      const heat = element("canvas", { class: "heat", "aria-hidden": "true" });
      warm(heat, values, channel, limit);
      find(".frame", figure)?.append(heat);
    });
    line.textContent =
      look.zoom === 1
        ? `orange speaks for ${found.target}, blue against it (${found.bundle}, what covering each place changes)`
        : "zoom out to see it";
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (current === entry) line.textContent = error.message;
  }
}

/** One channel of an attribution over its image. */
function warm(canvas, values, channel, limit) {
  canvas.height = values.length;
  canvas.width = values[0].length;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  values.forEach((row, y) =>
    row.forEach((pixel, x) => {
      const share = pixel[channel] / limit;
      const [r, g, b] = share > 0 ? [236, 133, 50] : [74, 163, 223];
      // FITS counts rows from below
      image.data.set([r, g, b, 220 * Math.abs(share)], 4 * ((values.length - 1 - y) * row.length + x));
    }),
  );
  context.putImageData(image, 0, 0);
}

// Sheets

function open(id, focus) {
  if (id !== "#help-sheet" && (!current || given)) return;
  const sheet = find(id);
  sheet.showModal();
  if (focus) find(focus).focus();
}

for (const sheet of all("dialog.sheet")) {
  sheet.addEventListener("click", (event) => {
    if (event.target === sheet || event.target.closest("[data-close]")) sheet.close();
  });
}
find("#note-sheet").addEventListener("close", () => {
  extra = { ...extra, note: find("#note-text").value.trim() };
  chosen();
});
find("#note-text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("#note-sheet").close();
});
find("#note-clear").addEventListener("click", () => {
  find("#note-text").value = "";
  find("#note-text").focus();
});
const toggle = (name) => {
  const tags = extra.tags.includes(name) ? extra.tags.filter((one) => one !== name) : [...extra.tags, name];
  extra = { ...extra, tags };
  chosen();
};
find("#tag-groups").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) toggle(button.dataset.tag);
});
const filterTags = () => {
  const wanted = find("#tag-text").value.trim().toLowerCase();
  for (const button of all("#tag-groups button")) button.hidden = !button.textContent.toLowerCase().includes(wanted);
};
find("#tag-text").addEventListener("input", filterTags);
find("#tag-text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  const first = all("#tag-groups button").find((button) => !button.hidden);
  if (first) toggle(first.dataset.tag);
  find("#tag-text").value = "";
  filterTags();
});
find("#tag-sheet").addEventListener("close", () => {
  find("#tag-text").value = "";
  filterTags();
});

const openTags = () => open("#tag-sheet", "#tag-text");
const openNote = () => {
  find("#note-text").value = extra.note;
  open("#note-sheet", "#note-text");
};

// Keys and buttons

const byKey = new Map(labels.flatMap(({ name, keys }) => keys.map((one) => [one, name])));
const commands = {
  [actions.unsure]: () => answer("unsure"),
  [actions.skip]: () => answer("skip"),
  [actions.undo]: undo,
  [actions.note]: openNote,
  [actions.tags]: openTags,
  " ": next,
  m: reveal,
  e: explain,
  o: () => find("#object")?.click(),
  "?": () => open("#help-sheet"),
};

addEventListener("keydown", (event) => {
  if (isTyping(event)) return;
  if (event.key === " " && event.target.closest?.("button, a")) return; // reached by tab: space presses it
  // a key that is held down answers once
  const command = commands[event.key] ?? (byKey.has(event.key) ? () => answer("label", byKey.get(event.key)) : null);
  if (command) {
    event.preventDefault();
    if (!event.repeat) command();
  } else if (look.press(event.key)) event.preventDefault();
});
for (const button of all(".answers [data-label]")) {
  button.addEventListener("click", () => answer("label", button.dataset.label));
}
for (const button of all(".answers [data-answer]")) {
  button.addEventListener("click", () => answer(button.dataset.answer));
}
document.addEventListener("click", (event) => {
  // pressed by a pointer: space means the next candidate again, not this button
  if (event.detail) event.target.closest("button")?.blur();
});
const buttons = {
  "#undo": undo,
  "#next": next,
  "#reveal": reveal,
  "#explain": explain,
  "#note": openNote,
  "#tags": openTags,
  "#help": commands["?"],
};
for (const [id, command] of Object.entries(buttons)) find(id).addEventListener("click", command);
choosers();
for (const name of ["hide", "advance"]) {
  const box = find(`#option-${name}`);
  box.checked = choices[name];
  box.addEventListener("change", () => {
    choices[name] = box.checked;
    keep("astrid.scan", choices);
    if (name === "hide" && !given) {
      shown = shown || !choices.hide;
      veil();
    }
  });
}

// Pixels under the pointer, and other looks

find("#stamps").addEventListener("pointermove", (event) => {
  const canvas = event.target.closest("canvas");
  const plane = current?.facts.planes?.[all("#stamps .stamp").indexOf(canvas?.closest(".stamp"))];
  const pixel = plane?.pixels && pixelAt(find("canvas", canvas.closest(".stamp")), plane, event);
  const text = pixel && (Number.isFinite(pixel.value) ? pixel.value.toPrecision(4) : "no value");
  find("#pixel").textContent = pixel ? `${plane.name} (${pixel.x}, ${pixel.y}): ${text}` : "";
});
find("#stamps").addEventListener("pointerleave", () => (find("#pixel").textContent = ""));
look.addEventListener("change", () => {
  if (!current?.facts.planes) return;
  all("#stamps .stamp").forEach((figure, k) => {
    const canvas = find("canvas", figure);
    find(".heat", figure)?.remove();
    if (canvas) draw(canvas, current.facts.planes[k], look);
  });
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) hiddenAt = performance.now();
  else if (hiddenAt !== null) {
    away += performance.now() - hiddenAt;
    hiddenAt = null;
  }
});
feed.addEventListener("change", () => {
  if (!given) show();
  count();
});
outbox.addEventListener("change", count);
outbox.addEventListener("refused", ({ detail: { error } }) => say(`an answer was refused: ${error.message}`, "bad"));
show();
count();
