// Changes of accounts and tokens: a request for each, and the page anew.

import { all, find, say } from "./dom.js";
import { json, Refusal } from "./http.js";

async function change(address, method, body) {
  try {
    return { value: await json(address, { method, body }) };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    say(error.message, "bad");
    return null;
  }
}

const user = (name) => `/api/v1/users/${encodeURIComponent(name)}`;
const given = (form, name) => form.elements.namedItem(name).value;

const forms = {
  async token(form) {
    const days = given(form, "days");
    const made = await change("/api/v1/account/tokens", "POST", {
      name: given(form, "name"),
      days: days ? Number(days) : null,
    });
    if (!made) return;
    find("#secret-text").textContent = made.value.token;
    find("#secret").hidden = false;
    form.reset();
    say("made; it is in the list when the page is loaded again", "good");
  },
  async password(form) {
    const wanted = { current: given(form, "current"), new: given(form, "new") };
    if (await change("/api/v1/account/password", "PUT", wanted)) location.assign("/login?next=/account");
  },
  async user(form) {
    const wanted = { name: given(form, "name"), role: given(form, "role"), password: given(form, "password") || null };
    if (await change("/api/v1/users", "POST", wanted)) location.assign("/admin");
  },
  async reset(form) {
    const done = await change(user(form.dataset.name), "PATCH", { password: given(form, "password") });
    if (!done) return;
    form.reset();
    say(`${form.dataset.name} has a new password`, "good");
  },
};

for (const form of all("form[data-form]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    forms[form.dataset.form](form);
  });
}
for (const button of all("[data-revoke]")) {
  button.addEventListener("click", async () => {
    if (await change(`/api/v1/account/tokens/${button.dataset.revoke}`, "DELETE")) location.reload();
  });
}
for (const chooser of all("[data-role]")) {
  chooser.addEventListener("change", async () => {
    const done = await change(user(chooser.dataset.role), "PATCH", { role: chooser.value });
    if (done) say(`${chooser.dataset.role} is ${chooser.value} now`, "good");
    else chooser.value = all("option", chooser).find((one) => one.defaultSelected).value;
  });
}
for (const button of all("[data-active]")) {
  button.addEventListener("click", async () => {
    const wanted = { active: button.dataset.value === "true" };
    if (await change(user(button.dataset.active), "PATCH", wanted)) location.reload();
  });
}
find("#copy")?.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(find("#secret-text").textContent);
    say("copied", "good");
  } catch {
    say("this browser does not let a page copy; mark the text", "bad");
  }
});
