// Tabs that share a storage hear of each other's rows, and send them one tab at a time, under a Web
// Lock. What became of a row is written into it before it is removed: the tab that made it has a
// promise to keep. sessionStorage is one tab's: nothing of this, as where there are no Web Locks.
import { sleep } from "../events.js";
import { OptimisticError } from "./sending.js";

// What another process has written is there a little later than its lock, and nothing tells when.
const SETTLE_MS = 100;
const TAKEN_OVER_MS = 2000; // after which what another tab has not sent is anybody's

/**
 * `hooks`: define(mutation, name, args), nothing if it has happened; settled(entry, done), `done`
 * being {answer} if the other tab could tell; refused(entry, error), by another tab; changed().
 */
export class Tabs {
  #storage;
  #name;
  #kept;
  #queue;
  #hooks;
  #locks;
  #stay = new AbortController(); // until the page is left
  #isListening = false;
  #timer;

  constructor({ storage, key }, kept, queue, hooks) {
    this.#storage = storage;
    this.#name = `realtime-kit ${key}`;
    this.#kept = kept;
    this.#queue = queue;
    this.#hooks = hooks;
    if (!isOfOneTab(storage)) this.#locks = globalThis.navigator?.locks;
  }

  put(entry) {
    this.#kept.put(entry);
    this.listen(true); // until it is settled, though the store is stopped
  }

  /** `done`: what became of it; not where the others hear its event. */
  drop(entry, done) {
    if (!entry.isKept) return;
    if (done && this.#locks) this.#kept.tell(entry, done);
    this.#kept.remove(entry);
  }

  /** Resolves to what `run(may)` does; `may(entry)` says which may be sent then. */
  async exclusive({ isKept, isFresh }, run) {
    const locks = this.#locks;
    if (!locks) return run(() => true);
    if (!isKept) return run((entry) => !entry.isKept); // nobody else has it
    if (isFresh) {
      // Nobody can have sent it before.
      const act = async (lock) => lock && { wait: await run((entry) => entry.isFresh) };
      const ran = await locks.request(this.#name, { ifAvailable: true }, act);
      if (ran) return ran.wait;
    }
    const { signal } = this.#stay;
    try {
      return await locks.request(this.#name, { signal }, async () => {
        await sleep(SETTLE_MS, signal);
        if (!signal.aborted) this.look();
        return run(() => true);
      });
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** At all that is kept, after which the queue holds the same. */
  look() {
    const { entries } = this.#queue;
    const known = new Set(entries.map(({ mutation }) => mutation));
    for (const entry of entries) if (isUnsent(entry) && this.#kept.isGone(entry)) this.#settled(entry);
    for (const [mutation, row] of this.#kept.rows()) if (!known.has(mutation)) this.#adopt(mutation, row);
    this.#hooks.changed();
  }

  listen(isOn) {
    if (!this.#locks || this.#isListening === isOn) return;
    this.#isListening = isOn;
    const verb = `${isOn ? "add" : "remove"}EventListener`;
    for (const name in this.#watched) globalThis[verb]?.(name, this.#watched[name]);
  }

  close() {
    this.listen(false);
    clearTimeout(this.#timer);
    this.#stay.abort();
  }

  #watched = {
    storage: ({ storageArea, key, newValue }) => {
      if (storageArea !== this.#storage) return;
      if (key === null) return this.look(); // all of it was cleared
      const { mutation, row } = this.#kept.read(key, () => newValue);
      if (mutation) this.#told(mutation, row);
    },
    // A page in the back/forward cache must neither hold a lock nor be given one.
    pagehide: () => {
      this.#queue.leave();
      this.#stay.abort();
      this.#stay = new AbortController();
    },
    pageshow: ({ persisted }) => {
      if (!persisted) return;
      this.look();
      this.#queue.send();
    },
  };

  #told(mutation, row) {
    const entry = this.#queue.find(mutation);
    if (!entry) {
      if (!row?.name) return;
      this.#adopt(mutation, row);
      this.#hooks.changed();
      this.#timer ??= setTimeout(() => this.#takeOver(), TAKEN_OVER_MS);
    } else if (row?.done?.error) {
      const { code, message, ...details } = row.done.error;
      const { action } = entry;
      this.#queue.remove(entry);
      this.#hooks.refused(entry, new OptimisticError(code, message, { mutation, action, ...details }));
    } else if (row?.done || (!row && isUnsent(entry))) this.#settled(entry, row?.done);
  }

  #adopt(mutation, { name, args, at }) {
    try {
      const entry = this.#hooks.define(mutation, name, args);
      if (entry) this.#queue.add({ ...entry, mutation, at, isKept: true });
    } catch (cause) {
      this.#kept.strange(mutation, cause);
    }
  }

  #takeOver() {
    this.#timer = undefined;
    this.#queue.send();
  }

  #settled(entry, done) {
    entry.leave(); // nothing of it is to be waited for
    this.#hooks.settled(entry, done);
  }
}

const isUnsent = ({ status }) => status === "queued" || status === "waiting";

function isOfOneTab(storage) {
  try {
    return storage === globalThis.sessionStorage;
  } catch {
    return false; // forbidden
  }
}
