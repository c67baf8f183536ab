import { backoff } from "./backoff.js";
import { RealtimeError } from "./events.js";

const TRANSPORTS = {
  socket: () => import("./transports/socket.js"),
  ably: () => import("./transports/ably.js"),
  sse: () => import("./transports/sse.js"),
  poll: () => import("./transports/poll.js"),
};
const TRIES_PER_TRANSPORT = 2; // failed attempts before the next has its turn
const STABLE_MS = 5000; // after which the back-off starts anew
const EAGER_MS = 1000; // between attempts that the page asks for
const SOCKETS = 10; // former ids that are told

const isOffline = () => globalThis.navigator?.onLine === false;

/** Keeps one connection; `session` is of the latest attempt. */
export function keepConnected(options, hooks) {
  const { base, request, transports, order, WebSocket = globalThis.WebSocket } = options;
  const sockets = [];
  const waiting = []; // to be told
  const loaders = { ...TRANSPORTS, ...transports };
  let state = "connecting";
  let session, config, timer, attemptedAt;
  let attempts = 0; // since the last connection that held
  let misses = 0; // failed attempts
  let turn = 0;

  const become = (next, detail) => {
    const previous = state;
    state = next;
    if (next === previous || waiting.push([next, { previous, ...detail }]) > 1) return;
    for (; waiting[0]; waiting.shift()) hooks.state(...waiting[0]);
  };

  function again(ms) {
    clearTimeout(timer);
    timer = setTimeout(attempt, ms);
  }

  async function attempt() {
    attemptedAt = Date.now();
    const abort = new AbortController();
    const { signal } = abort;
    const mine = (session = { abort, signal });
    become("connecting");
    try {
      mine.isFresh = !config;
      config ??= await request(base, { signal });
      if (!Array.isArray(config?.transports)) {
        throw new RealtimeError("bad_answer", "the config names no transports");
      }
      const cfg = (mine.cfg = { ...options, ...config, WebSocket, signal, sockets });
      const [transport] = await Promise.all([pick(mine), hooks.prepare(cfg)]);
      if (signal.aborted) return;
      mine.transport = transport.open(cfg, listen(mine));
    } catch (cause) {
      if (signal.aborted) return;
      if (cause instanceof RealtimeError) lost(mine, { error: cause, retry: Boolean(cause.transient) });
      else lost(mine, { error: new RealtimeError("connection_lost", cause.message, { cause }) });
    }
  }

  async function pick(mine) {
    const { cfg } = mine;
    const names = (order ?? cfg.transports).filter((name) => loaders[name]);
    for (let tried = 0; tried < names.length; tried += 1) {
      const at = (turn + tried) % names.length;
      const transport = await loaders[names[at]]();
      mine.at = at;
      mine.better = names.slice(0, at).map((name) => loaders[name]);
      if (transport.supported(cfg)) return transport;
    }
    const hint = globalThis.document ? "" : "; give connect({WebSocket}), or {Ably}";
    throw new RealtimeError("no_transport", `no transport of [${cfg.transports}] works here${hint}`);
  }

  function listen(mine) {
    const on = { open: opened, lost, paused };
    const told = { ...hooks.told, state: (name, detail) => on[name](mine, detail) };
    for (const name in told) {
      const act = told[name];
      told[name] = (...values) => mine === session && act(...values);
    }
    return told;
  }

  function opened(mine, { socketId = null }) {
    Object.assign(mine, { resumed: mine.isOpen, isOpen: true, openedAt: Date.now(), socketId });
    misses = mine.at * TRIES_PER_TRANSPORT; // lost again, this one comes first
    sockets.unshift(socketId);
    sockets.splice(SOCKETS);
    hooks.opened(mine);
    become("connected");
    if (mine.better[0]) import("./upgrade.js").then(({ seek }) => seek(mine, hooks.told, lost), () => {});
  }

  // It tries again by itself, on the same session.
  function paused(mine, detail) {
    mine.socketId = null;
    hooks.dropped();
    become(isOffline() ? "offline" : "waiting", detail);
  }

  function lost({ isOpen, isFresh, openedAt }, { error, retry = true, wait, isBetter, isStale }) {
    if (isBetter) misses = 0;
    if (!isOpen) misses += config ? 1 : 0;
    else if (Date.now() - openedAt >= STABLE_MS) attempts = 0;
    if (!isOpen || isStale) config = null; // what could not be reached may have moved
    turn = Math.floor(misses / TRIES_PER_TRANSPORT);
    if (!retry && (isOpen || isFresh)) return end("failed", { error });
    drop();
    // Once per connection that held.
    const atOnce = wait === 0 && !attempts;
    const retryIn = atOnce ? 0 : backoff(attempts, { floor: wait || error.retryAfter || undefined });
    attempts += 1;
    again(retryIn);
    become(isOffline() ? "offline" : "waiting", { error, retryIn });
  }

  function drop() {
    clearTimeout(timer);
    session?.abort.abort();
    session?.transport?.close();
    session = null;
    hooks.dropped();
  }

  // Lets go, for the back/forward cache.
  const check = () => session?.transport?.check?.();
  const wake = () => {
    if (session) check();
    else again(Math.max(0, attemptedAt + EAGER_MS - Date.now()));
  };
  const sleep = () => {
    drop();
    become("offline");
  };
  const watched = {
    offline: check,
    online: wake,
    pagehide: sleep,
    pageshow: (event) => event.persisted && wake(),
    visibilitychange: () => document.visibilityState === "visible" && wake(),
  };
  const watch = (verb) => {
    for (const name in watched) globalThis[`${verb}EventListener`]?.(name, watched[name]);
  };
  watch("add");

  function end(final, detail) {
    watch("remove");
    drop();
    become(final, detail);
  }

  return {
    attempt,
    end,
    get state() { return state; },
    get session() { return session; },
  };
}
