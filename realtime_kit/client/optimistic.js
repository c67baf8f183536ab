// Optimistic updates. What each public name means is told in optimistic.d.ts.
import { backoff } from "./backoff.js";
import { Emitter, sleep } from "./events.js";
import { freeze } from "./optimistic/freeze.js";
import { load, save } from "./optimistic/kept.js";
import { Queue } from "./optimistic/queue.js";
import { OptimisticError, within } from "./optimistic/sending.js";

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
  #log; // events since the snapshot under way was asked for
  #reloading; // {abort}
  #source = {}; // {client, channel}
  #listening = [];
  #events = new Emitter();
  #onError; // what takes the option's off again
  #isStarted = false;
  #isClosed = false;
  #queue = new Queue((name) => this.#get(name), {
    fetch: (...request) => this.#fetch(...request),
    client: () => this.#source.client,
    accepted: (entry, answer) => this.#accept(entry, answer),
    refused: (entry, error) => this.#refuse(entry, error),
    changed: () => this.#tell(),
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
    entry.mutation = uuid();
    this.#view = entry.apply(this.#view, entry.mutation); // what it throws is for the caller
    this.#queue.add(entry);
    this.#save();
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
    if (!this.#isStarted) this.#restore();
    this.#queue.send();
  }

  stop() {
    for (const off of this.#listening.splice(0)) off();
    this.#endReload();
    this.#source = { client: this.#source.client };
    for (const entry of this.#queue.entries) if (entry.status === "accepted") this.#fold(entry);
    this.#show();
  }

  close() {
    this.stop();
    this.#isClosed = true;
    this.#queue.close();
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
    const entry = mutation && this.#queue.entries.find((other) => other.mutation === mutation);
    // A whisper comes from another user: it settles nothing.
    if (entry && !event.startsWith("client-")) {
      this.#queue.remove(entry);
      this.#save();
      entry.resolve({ mutation, by: "event", event, data });
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
    for (let attempt = 0; this.#reloading === run; attempt += 1) {
      const { signal } = (run.abort = new AbortController());
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
        this.#report(new OptimisticError("reload_failed", `reload: ${cause.message}`, { cause }));
        run.abort = new AbortController();
        await sleep(backoff(attempt), run.abort.signal);
      }
    }
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

  #accept(entry, answer) {
    const { mutation, settle } = entry;
    this.#save();
    if (settle) entry.apply = (state) => settle(state, answer);
    entry.resolve({ mutation, by: "answer", answer });
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
    this.#folded.add(entry.mutation);
    if (this.#folded.size > REMEMBERED) this.#folded.delete(this.#folded.values().next().value);
  }

  #refuse(entry, error) {
    this.#save();
    this.#show();
    if (this.#isHeard(error)) entry.promise.catch(() => {});
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

  #save() {
    const { storage, key } = this.#options;
    if (storage && this.#isStarted) this.#keeping(() => save(storage, key, this.#queue.entries));
  }

  #restore() {
    this.#isStarted = true;
    const { storage, key } = this.#options;
    if (!storage) return;
    const early = this.#queue.entries.splice(0);
    for (const { mutation, name, args } of this.#keeping(() => load(storage, key)) ?? []) {
      const entry = this.#keeping(() => this.#define(name, args));
      if (entry) this.#queue.add({ ...entry, mutation });
    }
    this.#queue.entries.push(...early);
    this.#save();
    this.#show();
  }

  // Storage may be full, forbidden, or hold what another version of the page has put there.
  #keeping(act) {
    try {
      return act();
    } catch (cause) {
      this.#report(new OptimisticError("storage_failed", `storage: ${cause.message}`, { cause }));
    }
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

// randomUUID is for secure contexts alone; a phone on the laptop's network has none.
const uuid = () => crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].join("-");
