import { backoff } from "./backoff.js";
import { RealtimeError } from "./events.js";

const TRANSPORTS = {
  socket: () => import("./transports/socket.js"),
  ably: () => import("./transports/ably.js"),
};
const TRIES_PER_TRANSPORT = 2; // failed attempts before the next in the list has its turn
const STABLE_MS = 5000; // a connection that held this long starts the back-off anew
const EAGER_MS = 1000; // events of the page make no two attempts within this

const isOffline = () => globalThis.navigator?.onLine === false;

/**
 * Keeps one connection: gets the config, picks a transport, tries again when it is lost.
 *
 * `hooks`: state, opened, dropped, and `told`, those of the transport beside its state. `session` is
 * the attempt under way and the connection it made: {signal, config, transport, isOpen, socketId}.
 */
export function keepConnected(options, hooks) {
  const { base, request, transports, Ably, WebSocket = globalThis.WebSocket } = options;
  const loaders = { ...TRANSPORTS, ...transports };
  let state = "connecting";
  let session, config, timer, attemptedAt;
  let attempts = 0; // since the last connection that held
  let misses = 0; // failed attempts of the transport whose turn it is
  let turn = 0;

  const become = (next, detail) => {
    const previous = state;
    state = next;
    if (next !== previous) hooks.state(next, { previous, ...detail });
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
      config ??= await request(base, { signal });
      if (!Array.isArray(config?.transports)) {
        throw new RealtimeError("bad_answer", "the config names no transports");
      }
      const cfg = { ...config, base, request, signal, Ably, WebSocket };
      const transport = await pick(cfg);
      if (signal.aborted) return;
      mine.config = config;
      mine.transport = transport.open(cfg, listen(mine));
    } catch (cause) {
      if (signal.aborted) return;
      const isOurs = cause instanceof RealtimeError;
      const error = isOurs ? cause : new RealtimeError("connection_lost", cause.message, { cause });
      lost(mine, { error, retry: !isOurs || Boolean(cause.transient) });
    }
  }

  async function pick(cfg) {
    const names = cfg.transports.filter((name) => loaders[name]);
    for (let at = 0; at < names.length; at += 1) {
      const transport = await loaders[names[(turn + at) % names.length]]();
      if (transport.supported(cfg)) return transport;
    }
    const hint = globalThis.document ? "" : "; outside of a page give connect({WebSocket}), or {Ably}";
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
    misses = 0;
    hooks.opened(mine);
    become("connected");
  }

  // It tries again by itself, on the same session.
  function paused(mine, detail) {
    mine.socketId = null;
    hooks.dropped();
    become(isOffline() ? "offline" : "waiting", detail);
  }

  function lost({ isOpen, openedAt }, { error, retry = true, wait }) {
    if (!isOpen) {
      misses += config ? 1 : 0;
      config = null; // what could not be reached may have moved
    } else if (Date.now() - openedAt >= STABLE_MS) attempts = 0;
    turn = Math.floor(misses / TRIES_PER_TRANSPORT);
    if (!retry) return end("failed", { error });
    drop();
    // "Reconnect at once" is granted once per connection that held; else a server could spin us.
    const atOnce = wait === 0 && attempts === 0;
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

  // The page. Going away it lets go, because an open socket would keep it out of the
  // back/forward cache; coming back, or online, it does not wait for the back-off.
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
  for (const name in watched) globalThis.addEventListener?.(name, watched[name]);

  function end(final, detail) {
    for (const name in watched) globalThis.removeEventListener?.(name, watched[name]);
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
