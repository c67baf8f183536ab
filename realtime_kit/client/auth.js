// What is asked of the application: config, channel authorization, sign-in.
import { backoff } from "./backoff.js";
import { RealtimeError } from "./events.js";

const TIMEOUT_MS = 15_000;
const CHANNELS_PER_REQUEST = 100;

/** Makes `request(path, {json | form, signal})`: POST, or GET without a body, resolving to JSON. */
export function requester({ base, headers, credentials, fetch }) {
  async function send(path, { json, form }, signal, refresh) {
    const all = new Headers(await headers({ refresh }));
    all.set("Accept", "application/json");
    if (json) all.set("Content-Type", "application/json");
    const body = json ? JSON.stringify(json) : form && new URLSearchParams(form);
    const method = body ? "POST" : "GET";
    // Following a redirect to a login page would end as a puzzling parse error.
    const redirect = "manual";
    return fetch(new URL(path, base).href, { method, headers: all, body, credentials, redirect, signal });
  }

  return async function request(path, options) {
    const abort = new AbortController();
    const stop = () => abort.abort();
    const timer = setTimeout(stop, TIMEOUT_MS);
    options.signal.addEventListener("abort", stop);
    try {
      options.signal.throwIfAborted();
      let response = await send(path, options, abort.signal, false);
      if (response.status === 401) response = await send(path, options, abort.signal, true);
      if (response.status === 200) return await response.json();
      throw refusal(path, response.status, response.headers.get("Retry-After"));
    } catch (cause) {
      if (cause instanceof RealtimeError) throw cause;
      const transient = !(cause instanceof SyntaxError);
      const why = abort.signal.aborted ? "no answer in time" : cause.message;
      throw new RealtimeError(transient ? "request_failed" : "bad_answer", `${path}: ${why}`, { transient, cause });
    } finally {
      clearTimeout(timer);
      options.signal.removeEventListener("abort", stop);
    }
  };
}

function refusal(what, status, retryAfter, channel) {
  const transient = status >= 500 || status === 408 || status === 429;
  let code = transient ? "request_failed" : "bad_answer";
  if (status === 403) code = "denied";
  if (status === 401 || status < 400) code = "unauthorized"; // a redirect: to a login page
  const details = { status, transient, retryAfter: retryAfter * 1000, channel };
  return new RealtimeError(code, `${what}: answered ${status || "a redirect"}`, details);
}

/** Runs `task` until it answers: what failed for the moment is reported and tried again later. */
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

const sleep = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => resolve(clearTimeout(timer)));
  });

/**
 * Makes `ask(name)` for one connection: the names of one tick go in one request, and each is
 * answered by one call of `answered(name, answer, error)`. `memory.token` is a token that the
 * application gave; it goes back with the next question.
 */
export function authorizer({ path, socketId, request, memory, answered, ...life }) {
  const next = [];
  const asked = new Set();

  async function post(channels) {
    const json = { socket_id: socketId, channels, token: memory.token };
    const answer = await persist(() => request(path, { json, ...life }), life).catch((failure) => ({ failure }));
    if (life.signal.aborted) return;
    memory.token = answer?.token ?? memory.token;
    for (const name of channels) {
      asked.delete(name);
      const entry = answer?.channels?.[name];
      const isGranted = entry && !entry.status;
      answered(name, entry, isGranted ? null : (answer?.failure ?? refusal(name, entry?.status ?? 404, 0, name)));
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
