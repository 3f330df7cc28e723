// What the dashboard asks for once it is on the screen: whether the night is like others.

import { choosers, element, find } from "./dom.js";
import { json, Refusal } from "./http.js";

const WORDS = {
  ok: "the scores are those of other nights",
  watch: "something has changed",
  act: "do not trust the scores until somebody has looked",
};

async function compare(night) {
  const body = find("#drift-body");
  try {
    const { verdict, reasons, against } = await json(`/review/api/drift?${new URLSearchParams({ night })}`, {
      timeout: 120000,
    });
    body.replaceChildren(
      element(
        "p",
        {},
        verdict ? element("span", { class: `verdict ${verdict}` }, verdict) : null,
        verdict ? ` ${WORDS[verdict] ?? ""}` : "There is nothing to compare it with.",
      ),
      ...(reasons.length ? [element("ul", { class: "reasons" }, reasons.map((one) => element("li", {}, one)))] : []),
      ...(against ? [element("p", { class: "none" }, against)] : []),
    );
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    body.replaceChildren(element("p", { class: "none" }, error.message));
  }
}

choosers();
const { night } = find("#drift").dataset;
if (night) compare(night);
