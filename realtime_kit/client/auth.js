import { backoff } from "./backoff.js";
import { RealtimeError, sleep } from "./events.js";

const TIMEOUT_MS = 15_000;
const CHANNELS_PER_REQUEST = 100;

/** Makes the `request` of transport.d.ts. */
export function requester({ base, headers, credentials, fetch }) {
  async function send(path, { json, form, more }, signal, refresh) {
    const all = new Headers(await headers({ refresh }));
    all.set("Accept", "application/json");
    for (const name in more) all.set(name, more[name]);
    if (json) all.set("Content-Type", "application/json");
    const body = json ? JSON.stringify(json) : form && new URLSearchParams(form);
    const method = body ? "POST" : "GET";
    const redirect = "manual"; // to a login page, say: no parse error
    const init = { method, headers: all, body, credentials, redirect, signal };
    return fetch(new URL(path, base).href, init);
  }

  return async function request(path, options) {
    const { timeout = TIMEOUT_MS, read = answer } = options;
    const abort = new AbortController();
    const stop = () => abort.abort();
    const timer = setTimeout(stop, timeout);
    options.signal.addEventListener("abort", stop);
    try {
      options.signal.throwIfAborted();
      let response = await send(path, options, abort.signal, false);
      if (response.status === 401) response = await send(path, options, abort.signal, true);
      return await read(response, path);
    } catch (cause) {
      if (cause instanceof RealtimeError) throw cause;
      const transient = !(cause instanceof SyntaxError);
      const code = transient ? "request_failed" : "bad_answer";
      const why = abort.signal.aborted ? "no answer in time" : cause.message;
      throw new RealtimeError(code, `${path}: ${why}`, { transient, cause });
    } finally {
      clearTimeout(timer);
      options.signal.removeEventListener("abort", stop);
    }
  };
}

/** The JSON of a 200; everything else is thrown. */
export function answer(response, path) {
  if (response.status === 200) return response.json();
  throw refusal(path, response, { retryAfter: response.headers.get("Retry-After") * 1000 });
}

export function refusal(what, { status, explain, error }, details) {
  const transient = status >= 500 || status === 408 || status === 429;
  let code = transient ? "request_failed" : "bad_answer";
  if (status === 403) code = "denied";
  if (status === 401 || status < 400) code = "unauthorized";
  const why = explain ?? error ?? `answered ${status || "a redirect"}`;
  return new RealtimeError(code, `${what}: ${why}`, { status, transient, ...details });
}

/** Runs `task` until it answers, or fails for good. */
export async function persist(task, { signal, report }) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await task();
    } catch (error) {
      if (signal.aborted || !error.transient) throw error;
      report(error);
      await sleep(backoff(attempt, { floor: error.retryAfter || undefined }), signal);
    }
  }
}

/** Makes `ask(name)`: one request for a tick. */
export function authorizer({ path, socketId, request, memory, answered, ...life }) {
  const next = [];
  const asked = new Set();

  async function post(channels) {
    const json = { socket_id: socketId, channels, token: memory.token };
    const ask = () => request(path, { json, ...life });
    const answer = await persist(ask, life).catch((failure) => ({ failure }));
    if (life.signal.aborted) return;
    memory.token = answer?.token ?? memory.token;
    for (const name of channels) {
      asked.delete(name);
      const entry = answer?.channels?.[name];
      if (entry && !entry.status) answered(name, entry);
      else {
        const refused = refusal(name, entry ?? { error: "no answer" }, { channel: name });
        answered(name, null, answer?.failure ?? refused);
      }
    }
  }

  return function ask(name) {
    if (asked.has(name)) return;
    asked.add(name);
    next.push(name);
    if (next.length > 1) return;
    queueMicrotask(() => {
      while (next.length) post(next.splice(0, CHANNELS_PER_REQUEST));
    });
  };
}
