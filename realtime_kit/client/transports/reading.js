// What `sse` and `poll` share: they read the application's log from a position on, for all channels
// at once. There are no users, no members and no whispers. The interface: transport.d.ts.
import { isEncrypted } from "../channel.js";
import { refusal } from "../auth.js";
import { RealtimeError } from "../events.js";
import { frameOf, MAX_CHANNELS, placeOf } from "../log.js";

const COLLECT_MS = 10; // what comes and goes in this time is one request
const HIDDEN = 10; // times longer between two questions, while nobody looks

export const isHidden = () => globalThis.document?.visibilityState === "hidden";

/** Milliseconds until the next question, of those that have to be asked again and again. */
export const interval = (ms) => (isHidden() ? ms * HIDDEN : ms);

const number = () => Math.floor(Math.random() * 2 ** 40);

/**
 * `read(reader)` makes `once(signal)`, which reads for a while, and resolves to the milliseconds to
 * wait before the next time; what it throws ends the connection. `check`: what to do at once when
 * the page or the network may have changed, while `once` runs.
 */
export function reading(cfg, hooks, read, check = () => {}) {
  const places = new Map(); // channel → position
  const subscribed = new Set();
  const socketId = `${number()}.${number()}`; // nobody's socket: marks what this page has caused
  const sockets = [socketId, ...cfg.sockets];
  let isOpen, timer, abort;

  function refuse(name, error) {
    places.delete(name);
    subscribed.delete(name);
    hooks.denied(name, error);
  }

  function add({ name, position }) {
    if (places.size < MAX_CHANNELS) return places.set(name, position);
    const why = `${name}: at most ${MAX_CHANNELS} channels on this transport`;
    const error = new RealtimeError("denied", why, { channel: name, status: 413 });
    queueMicrotask(() => hooks.denied(name, error)); // the caller has yet to put on onError
  }

  const reader = {
    cfg: { ...cfg, sockets },
    places,
    subscribed,
    refuse,

    /** The application answers for these channels. */
    answered(names) {
      if (!isOpen) hooks.state("open", { socketId });
      isOpen = true;
      for (const name of names) {
        if (!places.has(name) || subscribed.has(name)) continue;
        subscribed.add(name);
        hooks.event(name, "pusher:subscription_succeeded", {});
      }
    },

    event(told) {
      const [event, data, meta] = frameOf(told);
      if (places.has(told.channel)) hooks.event(told.channel, event, data, meta);
      this.moved(told.channel, placeOf(told));
    },

    moved(name, position, isGap) {
      if (!places.has(name) || (places.get(name) === position && !isGap)) return;
      places.set(name, position);
      hooks[isGap ? "gap" : "position"](name, position);
    },
  };

  const once = read(reader);

  /** The keys of encrypted channels come with the proof that sockets need. */
  async function unlock(signal) {
    const names = [...places.keys()].filter((name) => isEncrypted(name) && !subscribed.has(name));
    if (!names.length) return;
    const json = { socket_id: socketId, channels: names };
    const { channels } = await cfg.request(cfg.auth, { json, signal });
    for (const channel of names) {
      const { [channel]: entry = { error: "no answer" } } = channels;
      if (!cfg.decrypt) refuse(channel, new RealtimeError("decrypt_required", channel, { channel }));
      else if (!entry.auth) refuse(channel, refusal(channel, entry, { channel }));
      else hooks.authorized(channel, entry);
    }
  }

  async function next() {
    clearTimeout(timer);
    abort?.abort();
    const { signal } = (abort = new AbortController());
    timer = null;
    try {
      await unlock(signal);
      if (!places.size) return signal.aborted || reader.answered([]);
      const wait = await once(signal);
      if (!signal.aborted) timer = setTimeout(next, wait);
    } catch (cause) {
      if (signal.aborted) return;
      close();
      const { message } = cause;
      const isOurs = cause instanceof RealtimeError;
      const error = isOurs ? cause : new RealtimeError("connection_lost", message, { cause });
      hooks.state("lost", { error, retry: error.code !== "unauthorized" });
    }
  }

  function restart() {
    clearTimeout(timer);
    timer = setTimeout(next, COLLECT_MS);
  }

  function wake() {
    if (timer) next();
    else if (places.size) check();
  }

  function close() {
    clearTimeout(timer);
    timer = null;
    abort?.abort();
    globalThis.removeEventListener?.("focus", wake);
  }

  globalThis.addEventListener?.("focus", wake);
  (hooks.wanted() || []).forEach(add);
  timer = setTimeout(next, 0);

  return {
    authorizes: true,
    inOrder: true,
    subscribe(name, auth, position) {
      if (places.has(name)) return;
      add({ name, position });
      restart();
    },
    unsubscribe(name) {
      subscribed.delete(name);
      if (places.delete(name)) restart();
    },
    publish: null,
    check: wake,
    close,
  };
}
