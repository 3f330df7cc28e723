// Answers on their way to the server. Each is kept in the browser until the server has confirmed it, so that neither a
// killed server nor a closed tab loses one; each has a key of its own, so that sending it twice does not double it.
//
// One entry of localStorage for each message, not one list: two tabs that write at once then cannot lose each other's.

import { Refusal, json } from "./http.js";

const SLOWEST = 15000; // ms between two attempts

/** A random identifier; crypto.randomUUID is missing where the page came over plain HTTP from another machine. */
export function key() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Outbox extends EventTarget {
  #prefix;
  #memory = new Map(); // where the browser keeps nothing for us
  #counter = 0;
  #wait = 0;
  #busy = false;
  #timer = 0;
  #trouble = null;

  /** @param {string} user whose answers these are: those of another person wait until she is back */
  constructor(user) {
    super();
    this.#prefix = `astrid.outbox.${encodeURIComponent(user)}.`;
    addEventListener("online", () => this.#soon(0));
    addEventListener("storage", (event) => {
      if (event.key?.startsWith(this.#prefix)) this.#changed();
    });
    this.#soon(0);
  }

  /** What waits, the oldest first. */
  get waiting() {
    const found = new Map(this.#memory);
    for (let k = 0; k < localStorage.length; k++) {
      const name = localStorage.key(k);
      if (!name?.startsWith(this.#prefix)) continue;
      try {
        found.set(name, JSON.parse(localStorage.getItem(name)));
      } catch {
        localStorage.removeItem(name); // not ours: we write whole entries
      }
    }
    return [...found].sort(([one], [other]) => (one < other ? -1 : 1));
  }

  get size() {
    return this.waiting.length;
  }

  /** Why nothing is sent at the moment; null if it is. */
  get trouble() {
    return this.#trouble;
  }

  /** Keep a message, and send it when its turn comes: {method, address, body, item}. */
  add(message) {
    const order = `${Date.now().toString().padStart(15, "0")}.${(this.#counter++).toString().padStart(6, "0")}`;
    const name = `${this.#prefix}${order}.${key().slice(0, 8)}`;
    try {
      localStorage.setItem(name, JSON.stringify(message));
    } catch {
      this.#memory.set(name, message); // full or forbidden: until the page is closed, at least
    }
    this.#changed();
    this.#soon(0);
  }

  #remove(name) {
    this.#memory.delete(name);
    localStorage.removeItem(name);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  #soon(wait) {
    if (this.#busy) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(), wait);
  }

  async #send() {
    if (this.#busy) return;
    this.#busy = true;
    let wait = null;
    try {
      // in their order: an answer comes before what takes it back
      for (let next = this.waiting[0]; next; next = this.waiting[0]) {
        const [name, message] = next;
        try {
          const answer = await json(message.address, { method: message.method, body: message.body });
          this.#trouble = null;
          this.#wait = 0;
          this.#remove(name);
          this.dispatchEvent(new CustomEvent("sent", { detail: { message, answer } }));
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          if (error.passing || error.status === 401 || error.status === 403) {
            this.#trouble = error;
            this.#wait = Math.min(SLOWEST, Math.max(250, 2 * this.#wait));
            wait = this.#wait;
            this.#changed();
            break;
          }
          // it will never be taken: say so, and do not hold up what comes after it
          this.#remove(name);
          this.dispatchEvent(new CustomEvent("refused", { detail: { message, error } }));
        }
      }
    } finally {
      this.#busy = false;
    }
    if (wait !== null) this.#soon(wait);
  }
}
