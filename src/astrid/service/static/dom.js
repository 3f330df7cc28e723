// Elements made by hand: text goes in as text and never as HTML, so that no note, name or FITS header can become code.

/** An element with attributes and children; a null child is left out, true is an attribute without a value. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((one) => one !== null && one !== undefined));
  return made;
}

export const find = (selector, within = document) => within.querySelector(selector);
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];

/** What the server wrote into the page for its script. */
export function settings(name = "settings") {
  const holder = document.getElementById(name);
  return holder ? JSON.parse(holder.textContent) : {};
}

/** Says something to those who see and to those who listen. */
export function say(text, kind = "") {
  const line = find("#said");
  if (!line) return;
  line.textContent = text;
  line.dataset.kind = kind;
}

/** Whether a key belongs to a field, a dialog or the browser, and not to the page. */
export function isTyping(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return true;
  const target = event.target;
  // a field of a dialog that was just closed has the focus until the next frame
  if (target.closest?.("dialog:not([open])")) return false;
  return target.closest?.("input:not([type=checkbox]), textarea, select, dialog[open], summary, [contenteditable]") != null;
}

/** A link that leaves the site: plain, and it tells the other side nothing. */
export const outward = (name, address) =>
  element("a", { href: address, rel: "noopener noreferrer", target: "_blank" }, name);

/** What waits to be sent, and why. */
export function tellOutbox(line, outbox) {
  const { size, trouble } = outbox;
  line.className = size && trouble ? "tag warn" : "";
  if (!size) line.replaceChildren();
  else if (!trouble) line.replaceChildren(`${size} on the way`);
  else if (trouble.status === 401 || trouble.status === 403) {
    const back = `/login?${new URLSearchParams({ next: location.pathname + location.search })}`;
    line.replaceChildren(`${size} not sent yet: `, element("a", { href: back }, "log in again"));
  } else line.replaceChildren(`${size} not sent yet: ${trouble.message}`);
}

/** Another task or profile is another page. */
export function choosers() {
  const [task, profile] = [find("#task"), find("#profile")];
  for (const one of [task, profile]) {
    one?.addEventListener("change", () => {
      const query = new URLSearchParams();
      if (task) query.set("task", task.value);
      if (profile?.value) query.set("profile", profile.value);
      location.search = query;
    });
  }
}
