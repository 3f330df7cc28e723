// The candidates that come next: asked for in time, with their pixels, so that the next one is there before it is wanted.

import { bytes, json, Refusal } from "./http.js";
import { unpack } from "./stamps.js";

const AHEAD = 16; // candidates that are ready or on their way
const AT_ONCE = 4; // requests for pixels
const AGAIN = 1500; // ms
const LATER = 15000; // ms: another person may give something back

export const nameOf = ({ survey, alert_id }) => `${survey}/${alert_id}`;

export function candidateAddress(task, item, parts = "") {
  const query = new URLSearchParams({ task, survey: item.survey, alert_id: item.alert_id });
  if (parts) query.set("parts", parts);
  return `/review/api/candidate?${query}`;
}

/** Candidates of one queue for one person; "change" tells that there are more, or why there are none. */
export class Feed extends EventTarget {
  #task;
  #profile;
  #spared; // how many more to ask for, because they are answered here but not yet at the server
  #queue = []; // {item, facts}; facts is null until the pixels are here
  #gone = new Set(); // answered here: the server may not know it yet
  #loading = 0;
  #asking = false;
  #timer = 0;
  remaining = null;
  exhausted = false;
  trouble = null;

  constructor({ task, profile, unsent }) {
    super();
    this.#task = task;
    this.#profile = profile;
    this.#spared = unsent;
    this.fill();
  }

  get first() {
    return this.#queue[0] ?? null;
  }

  /** The current candidate is done with. */
  shift() {
    const one = this.#queue.shift();
    if (one) this.#gone.add(nameOf(one.item));
    this.fill();
  }

  /** The current candidate comes again, after the others. */
  postpone() {
    if (this.#queue.length > 1) this.#queue.push(this.#queue.shift());
    this.fill();
  }

  /** A candidate comes back, at the front. */
  unshift(entry) {
    this.#gone.delete(nameOf(entry.item));
    this.#queue = this.#queue.filter((one) => nameOf(one.item) !== nameOf(entry.item));
    this.#queue.unshift(entry);
    this.dispatchEvent(new Event("change"));
  }

  /** Mark as answered what waits in the browser from an earlier visit. */
  leaveOut(items) {
    for (const item of items) this.#gone.add(nameOf(item));
  }

  fill() {
    this.#load();
    if (this.#asking || this.#queue.length > AHEAD / 2) return;
    this.#ask();
  }

  async #ask() {
    this.#asking = true;
    clearTimeout(this.#timer);
    try {
      const n = AHEAD + this.#spared();
      const query = new URLSearchParams({ task: this.#task, n });
      if (this.#profile) query.set("profile", this.#profile);
      const { items, remaining } = await json(`/api/v1/labels/next?${query}`);
      this.remaining = remaining;
      this.trouble = null;
      const known = new Set(this.#queue.map((one) => nameOf(one.item)));
      const fresh = items.filter((item) => !known.has(nameOf(item)) && !this.#gone.has(nameOf(item)));
      this.#queue.push(...fresh.map((item) => ({ item, facts: null, failed: 0 })));
      this.exhausted = !fresh.length && !this.#queue.length;
      if (this.exhausted) this.#timer = setTimeout(() => this.fill(), LATER);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.trouble = error;
      if (error.passing) this.#timer = setTimeout(() => this.fill(), AGAIN);
    } finally {
      this.#asking = false;
    }
    this.#load();
    this.dispatchEvent(new Event("change"));
  }

  async #load() {
    const next = this.#queue.find((one) => one.facts === null && !one.loading);
    if (!next || this.#loading >= AT_ONCE) return;
    this.#loading++;
    next.loading = true;
    try {
      next.facts = unpack(await bytes(candidateAddress(this.#task, next.item)));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.passing && ++next.failed < 200) {
        setTimeout(() => {
          next.loading = false;
          this.#load();
        }, AGAIN);
      } else {
        next.facts = { problem: error.message };
      }
    } finally {
      this.#loading--;
    }
    if (next === this.first) this.dispatchEvent(new Event("change"));
    this.#load();
    this.#load();
  }
}
