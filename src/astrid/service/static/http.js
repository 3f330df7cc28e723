// Requests to our own server, with the token that proves that they come from our own page.

const meta = (name) => document.querySelector(`meta[name=${name}]`);
const csrf = () => meta("csrf")?.content ?? "";

/** Asks for the token again, as after a restart of a service without accounts; no if somebody else is logged in. */
async function renewed() {
  try {
    const response = await fetch("/api/v1/account", { credentials: "same-origin", signal: AbortSignal.timeout(10000) });
    const { name, csrf } = await response.json();
    if (!csrf || name !== meta("user")?.content || csrf === meta("csrf").content) return false;
    meta("csrf").content = csrf;
    return true;
  } catch {
    return false;
  }
}

/** The server has said no; `status` is 0 where it has said nothing at all. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  /** Whether the same request may well succeed later. */
  get passing() {
    return this.status === 0 || this.status === 408 || this.status === 425 || this.status === 429 || this.status >= 500;
  }
}

/** A response that is good, or a Refusal with the server's own sentence. */
export async function request(address, options = {}) {
  try {
    return await once(address, options);
  } catch (error) {
    const unsafe = (options.method ?? "GET") !== "GET";
    if (unsafe && error.status === 403 && (await renewed())) return once(address, options);
    throw error;
  }
}

async function once(address, { method = "GET", body, signal, timeout = 20000 }) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = csrf();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(address, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      redirect: "error",
      signal: signal ?? AbortSignal.timeout(timeout),
      keepalive: method !== "GET",
    });
  } catch {
    throw new Refusal(0, "the server does not answer");
  }
  if (!response.ok) throw new Refusal(response.status, await reason(response));
  return response;
}

export async function json(address, options) {
  const response = await request(address, options);
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch {
    throw new Refusal(0, "the server's answer has ended too early");
  }
}

export async function bytes(address, options) {
  const response = await request(address, options);
  try {
    return await response.arrayBuffer();
  } catch {
    throw new Refusal(0, "the server's answer has ended too early");
  }
}

async function reason(response) {
  try {
    const problem = await response.json();
    return String(problem.detail ?? problem.title ?? response.statusText);
  } catch {
    return `the server says ${response.status}`;
  }
}
