// Optimistic updates. What each public name means is told in optimistic.d.ts.
import { backoff } from "./backoff.js";
import { Emitter } from "./events.js";
import { freeze } from "./optimistic/freeze.js";
import { Kept, uuid } from "./optimistic/kept.js";
import { isOffline, pause } from "./optimistic/pause.js";
import { Queue } from "./optimistic/queue.js";
import { OptimisticError, within } from "./optimistic/sending.js";
import { Tabs } from "./optimistic/tabs.js";

export { OptimisticError };

const REMEMBERED = 500;
const DEFAULTS = { reduce: {}, mutations: {}, eventWithin: 5000, timeout: 15_000, retries: 8 };

export function optimistic(options) {
  const store = new Optimistic(options);
  store.start(options);
  return store;
}

/**
 * The view is the server's state with what is pending on top. The server's state is changed by its
 * events and by reloads alone: an answer makes a mutation `accepted`, and what it did stays on top
 * until its event comes. So neither order of the two can apply it twice, and an event that was
 * under way before it stays below it.
 */
export class Optimistic {
  #options; // read at each use: the hook exchanges what is in it
  #server;
  #view;
  #pending = [];
  #position; // where in the history the snapshot was that #server began with
  #folded = new Set(); // mutations that are in #server without their event
  #happened = new Set(); // whose event has come
  #log; // events since the snapshot under way was asked for
  #reloading; // {abort}
  #source = {}; // {client, channel}
  #listening = [];
  #events = new Emitter();
  #onError; // what takes the option's off again
  #isStarted = false;
  #isStopped = false;
  #isClosed = false;
  #tabs; // what is kept over a reload of the page
  #queue = new Queue((name) => this.#get(name), {
    fetch: (...request) => this.#fetch(...request),
    client: () => this.#source.client,
    accepted: (entry, answer) => {
      this.#tabs?.drop(entry, { answer });
      this.#accept(entry, answer);
    },
    refused: (entry, error) => {
      this.#tabs?.drop(entry, { error });
      this.#refuse(entry, error);
    },
    changed: () => this.#tell(),
    exclusive: (entry, run) => (this.#tabs ? this.#tabs.exclusive(entry, run) : run(() => true)),
  });

  constructor(options) {
    if (options.storage && !options.key) throw new TypeError("storage needs a key: of what, and whose");
    this.#options = options;
    this.#server = this.#view = freeze(options.initial);
    this.#position = options.position;
  }

  // Bound: it is handed around alone.
  mutate = (first, second, settle) => {
    if (this.#isClosed) throw new OptimisticError("closed", "these optimistic updates are closed");
    const isNamed = typeof first === "string";
    const entry = isNamed ? this.#define(first, second) : { apply: first, send: second, settle };
    Object.assign(entry, { mutation: uuid(), isOwn: true });
    this.#view = entry.apply(this.#view, entry.mutation); // what it throws is for the caller
    this.#queue.add(entry);
    if (isNamed) this.#tabs?.put(entry);
    this.#tell();
    if (this.#isStarted) this.#queue.send();
    return entry.promise;
  };

  get state() {
    return this.#view;
  }

  get server() {
    return this.#server;
  }

  get pending() {
    return this.#pending;
  }

  on(event, handler) {
    return this.#events.on(event, handler);
  }

  start({ client, channel } = {}) {
    if (this.#isClosed) throw new OptimisticError("closed", "these optimistic updates are closed");
    this.stop();
    this.#source = { client, channel };
    if (channel) this.#listen(channel);
    this.#isStopped = false;
    this.#restore();
    this.#queue.send();
  }

  stop() {
    for (const off of this.#listening.splice(0)) off();
    this.#endReload();
    this.#source = { client: this.#source.client };
    this.#isStopped = true;
    for (const entry of this.#queue.entries) if (entry.status === "accepted") this.#fold(entry);
    this.#show();
  }

  close() {
    this.stop();
    this.#isClosed = true;
    this.#queue.close();
    this.#tabs?.close();
    this.#show();
  }

  // --- what the server says ---

  #listen(channel) {
    const { position, reload } = this.#options;
    let isFirst = true;
    const subscribed = () => {
      // With a history nothing was missed, or the channel tells of a gap.
      const isCovered = channel.onGap && channel.position && (!isFirst || position);
      isFirst = false;
      if (!isCovered) this.reload();
    };
    this.#listening.push(channel.on("*", (data, meta) => this.#receive(data, meta)));
    if (!reload) return;
    this.#listening.push(channel.on("pusher:subscription_succeeded", subscribed));
    if (channel.onGap) this.#listening.push(channel.onGap(() => void this.reload()));
    if (channel.state === "subscribed") subscribed();
  }

  #receive(data, meta) {
    const { event, mutation } = meta;
    if (!Object.hasOwn(this.#get("reduce"), event)) return;
    const entry = mutation && this.#queue.find(mutation);
    // A whisper comes from another user: it settles nothing.
    if (mutation && !event.startsWith("client-")) {
      remember(this.#happened, mutation);
      if (entry) {
        this.#queue.remove(entry);
        this.#tabs?.drop(entry);
        entry.resolve({ mutation, by: "event", event, data });
      }
    }
    if (!this.#folded.has(mutation) && !isWithin(meta, this.#position)) {
      this.#log?.push([data, meta]);
      this.#reduce(data, meta);
    }
    this.#show();
  }

  #reduce(data, meta) {
    try {
      this.#server = freeze(this.#get("reduce")[meta.event](this.#server, data, meta));
    } catch (cause) {
      this.#report(new OptimisticError("reduce_failed", `${meta.event}: ${cause.message}`, { cause }));
    }
  }

  async reload() {
    const { reload } = this.#options;
    if (!reload || this.#isClosed) return;
    this.#endReload();
    const run = (this.#reloading = {});
    for (let attempt = 0; this.#reloading === run; ) {
      const { signal } = (run.abort = new AbortController());
      if (isOffline()) {
        await this.#pause(Infinity, signal);
        continue;
      }
      const fetch = async (input, init) => ok(await this.#fetch(input, { signal, ...init }));
      this.#log = [];
      // What was accepted before it was asked for is in the snapshot.
      const included = this.#queue.entries.filter(({ status }) => status === "accepted");
      try {
        const snapshot = await within(this.#get("timeout"), run.abort, () => reload({ signal, fetch }));
        if (this.#reloading === run) this.#loaded(snapshot, included);
        return;
      } catch (cause) {
        if (this.#reloading !== run) return;
        if (isOffline()) continue; // nothing is wrong
        this.#report(new OptimisticError("reload_failed", `reload: ${cause.message}`, { cause }));
        run.abort = new AbortController();
        await this.#pause(backoff(attempt), run.abort.signal);
        attempt += 1;
      }
    }
  }

  #pause(ms, signal) {
    const ended = new Promise((resolve) => signal.addEventListener("abort", resolve));
    return pause(ms, ended, { client: this.#source.client });
  }

  #loaded({ state, position }, included) {
    this.#server = freeze(state);
    this.#position = position;
    for (const [data, meta] of this.#log) if (!isWithin(meta, position)) this.#reduce(data, meta);
    this.#endReload();
    for (const entry of included) this.#queue.remove(entry);
    this.#show();
    if (this.#queue.entries.some(({ isMissed }) => isMissed)) this.reload();
  }

  #endReload() {
    this.#reloading?.abort.abort();
    this.#reloading = this.#log = undefined;
  }

  // --- what the user did ---

  #define(name, args) {
    const mutations = this.#get("mutations");
    if (!Object.hasOwn(mutations, name)) throw new TypeError(`no mutation is named "${name}"`);
    const { apply, send, settle } = mutations[name];
    return {
      action: { name, args },
      apply: (state, mutation) => apply(state, args, mutation),
      send: (context) => send(args, context),
      settle: settle && ((state, answer) => settle(state, answer, args)),
    };
  }

  #accept(entry, answer, isKnown = true) {
    const { mutation, settle } = entry;
    if (settle && isKnown) entry.apply = (state) => settle(state, answer);
    entry.status = "accepted";
    entry.resolve({ mutation, by: "answer", answer });
    clearTimeout(entry.timer);
    const wait = this.#source.channel ? this.#get("eventWithin") : 0;
    if (wait) entry.timer = setTimeout(() => this.#miss(entry), wait);
    else this.#fold(entry);
    this.#show();
  }

  /** Its event has not come: lost, or there is none. */
  #miss(entry) {
    entry.isMissed = true;
    if (!this.#options.reload) this.#fold(entry);
    else if (!this.#reloading) this.reload();
    this.#show();
  }

  #fold(entry) {
    this.#server = this.#apply(this.#server, entry);
    this.#queue.remove(entry);
    remember(this.#folded, entry.mutation);
  }

  #refuse(entry, error, isForOthers = false) {
    this.#show();
    if (isForOthers || this.#isHeard(error)) entry.promise.catch(() => {});
    entry.reject(error);
  }

  #apply(state, entry) {
    try {
      return entry.apply(state, entry.mutation);
    } catch (cause) {
      const { mutation, action, isBroken } = entry;
      entry.isBroken = true;
      const why = `cannot apply it to the new state: ${cause.message}`;
      if (!isBroken) this.#report(new OptimisticError("apply_failed", why, { cause, mutation, action }));
      return state;
    }
  }

  #show() {
    const { entries } = this.#queue;
    this.#view = entries.reduce((state, entry) => this.#apply(state, entry), this.#server);
    if (this.#isStopped && !entries.length) this.#tabs?.listen(false);
    this.#tell();
  }

  #tell() {
    const { entries } = this.#queue;
    const shown = entries.map(({ mutation, status, attempts, error, action }) => ({
      mutation, status, attempts, error, action,
    }));
    if (shown.length || this.#pending.length) this.#pending = shown; // else the same as before
    this.#events.emit("change", this.#view, this.#pending);
  }

  // --- over a reload of the page ---

  #restore() {
    const { storage, key } = this.#options;
    const early = this.#isStarted ? [] : this.#queue.entries.splice(0);
    this.#isStarted = true;
    if (storage) {
      this.#tabs ??= this.#keep({ storage, key });
      this.#tabs.listen(true);
      this.#tabs.look();
    }
    for (const entry of early) {
      entry.at = undefined; // after what was kept
      this.#queue.place(entry);
      if (entry.action) this.#tabs?.put(entry);
    }
    this.#show();
  }

  #keep(where) {
    const failed = (cause) => {
      this.#report(new OptimisticError("storage_failed", `storage: ${cause.message}`, { cause }));
    };
    return new Tabs(where, new Kept(where.storage, where.key, failed), this.#queue, {
      define: (mutation, ...of) => !this.#happened.has(mutation) && this.#define(...of),
      settled: (entry, done) => this.#accept(entry, done?.answer, Boolean(done)),
      refused: (entry, error) => this.#refuse(entry, error, !entry.isOwn),
      changed: () => this.#show(),
    });
  }

  #report(error) {
    if (!this.#isHeard(error)) console.warn(`realtime: ${error.message}`);
  }

  #isHeard(error) {
    // Not in the constructor: the hook may be given it later.
    if (this.#options.onError) this.#onError ??= this.on("error", (told) => this.#options.onError?.(told));
    return this.#events.emit("error", error);
  }

  #fetch(...request) {
    const { client } = this.#source;
    return client ? client.fetch(...request) : globalThis.fetch(...request);
  }

  #get(name) {
    return this.#options[name] ?? DEFAULTS[name];
  }
}

function remember(set, value) {
  set.add(value);
  if (set.size > REMEMBERED) set.delete(set.values().next().value);
}

/** Whether a snapshot at that position, `EPOCH:OFFSET`, has the event in it. */
function isWithin({ epoch, offset }, position) {
  const cut = position?.lastIndexOf(":");
  return cut > 0 && position.slice(0, cut) === epoch && offset <= position.slice(cut + 1);
}

/** An error's body is no state. */
function ok(response) {
  if (response.ok) return response;
  const { status } = response;
  throw Object.assign(new Error(`answered ${status}`), { status });
}
