// Facts, scores and neighbours of a candidate as lists on the page.

import { element, outward } from "./dom.js";

/** A list of names and texts, with a hint where there is one. */
export function factList(facts) {
  return element(
    "dl",
    { class: "fact-list" },
    facts.flatMap(({ name, text, hint }) => [element("dt", { title: hint || null }, name), element("dd", {}, text)]),
  );
}

export function neighbourList(neighbours) {
  if (!neighbours.length) return element("p", { class: "none" }, "no catalogue was asked");
  const facts = neighbours.map(({ catalog, text, count, id, more }) => ({
    name: catalog,
    text: [text, id, count > 1 ? `${count} within the radius` : "", ...more.map((one) => `${one.name} ${one.text}`)]
      .filter(Boolean)
      .join(" · "),
  }));
  return factList(facts);
}

export const linkList = (links) =>
  element("p", { class: "outward" }, links.map(({ name, address }) => outward(name, address)));

/** A score for each bundle, as a bar from 0 to 1 with its spread. */
export function scoreList(scores) {
  if (!scores.length) return [element("p", { class: "none" }, "no model has scored it")];
  return scores.map((score) =>
    element(
      "div",
      { class: "score" },
      element(
        "div",
        { class: "who" },
        element("span", { class: "name", title: `hash ${score.hash}` }, score.bundle),
        score.decision ? element("span", { class: `tag ${kind(score.decision)}` }, score.decision) : null,
      ),
      score.values.map(({ label, value, spread, text }) =>
        element("div", { class: "value" }, element("span", {}, label), bar(value, spread), element("span", {}, text)),
      ),
      [score.unscored, score.applicable].filter(Boolean).map((text) => element("small", {}, text)),
    ),
  );
}

const kind = (decision) => (decision === "real" || decision === "bogus" ? decision : "");

function bar(value, spread) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const inside = (share) => 100 * Math.min(1, Math.max(0, share));
  made.setAttribute("viewBox", "0 0 100 10");
  made.setAttribute("preserveAspectRatio", "none");
  made.setAttribute("aria-hidden", "true");
  const part = (name, from, to, y, height) => {
    const one = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const facts = { class: name, x: inside(from), y, width: inside(to) - inside(from), height };
    for (const [key, text] of Object.entries(facts)) one.setAttribute(key, String(text));
    made.append(one);
  };
  part("rail", 0, 1, 3.5, 3);
  part("level", 0, value, 2, 6);
  if (spread) part("spread", value - spread, value + spread, 4, 2);
  return made;
}
