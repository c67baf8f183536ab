import { backoff } from "../backoff.js";
import { attempt, OptimisticError } from "./sending.js";

const isOffline = () => globalThis.navigator?.onLine === false;

/**
 * Mutations in order, sent one after the other: two requests at once could reach the server in the
 * other order. `hooks`: fetch, client(), accepted(entry, answer), refused(entry, error),
 * changed().
 */
export class Queue {
  entries = [];
  #get; // an option
  #hooks;
  #requests = new Set();
  #isSending = false;

  constructor(get, hooks) {
    this.#get = get;
    this.#hooks = hooks;
  }

  add(entry) {
    Object.assign(entry, { status: "queued", attempts: 0 });
    entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    entry.gone = new Promise((resolve) => (entry.leave = resolve));
    this.entries.push(entry);
  }

  has(entry) {
    return this.entries.includes(entry);
  }

  remove(entry) {
    if (!this.has(entry)) return;
    this.entries = this.entries.filter((other) => other !== entry);
    clearTimeout(entry.timer);
    entry.leave();
  }

  close() {
    for (const entry of this.entries) {
      this.remove(entry);
      entry.reject(this.#about(entry, new OptimisticError("closed", "closed before it was settled")));
      entry.promise.catch(() => {}); // whoever closes knows
    }
    for (const request of this.#requests) request.abort();
  }

  async send() {
    if (this.#isSending) return;
    this.#isSending = true;
    for (let entry; (entry = this.entries.find(({ status }) => status !== "accepted")); ) {
      await this.#deliver(entry);
    }
    this.#isSending = false;
  }

  async #deliver(entry) {
    while (this.has(entry) && entry.status !== "accepted") {
      if (isOffline()) {
        await this.#pause(entry, Infinity);
        continue;
      }
      this.#become(entry, "sending");
      try {
        // It may be settled by its event while the answer is still to come.
        const answer = await Promise.race([this.#attempt(entry), entry.gone]);
        if (!this.has(entry)) return;
        entry.status = "accepted";
        this.#hooks.accepted(entry, answer);
      } catch (error) {
        if (this.has(entry)) await this.#failed(entry, this.#about(entry, error));
      }
    }
  }

  async #attempt(entry) {
    const abort = new AbortController();
    this.#requests.add(abort);
    try {
      const { fetch } = this.#hooks;
      return await attempt(entry, { fetch, timeout: this.#get("timeout"), abort });
    } finally {
      this.#requests.delete(abort);
    }
  }

  async #failed(entry, error) {
    const { code, retryAfter } = error;
    const isCounted = code !== "network" || !isOffline();
    const isPassing = code === "network" || retryAfter !== undefined;
    if (!isPassing || (isCounted && entry.attempts >= this.#get("retries"))) {
      this.remove(entry);
      this.#hooks.refused(entry, error);
      return;
    }
    entry.error = error;
    const wait = Math.max(retryAfter ?? 0, backoff(entry.attempts));
    if (isCounted) entry.attempts += 1;
    await this.#pause(entry, wait, retryAfter === undefined);
  }

  /** Until the time is over; at once when the network is back, or the entry is gone. */
  async #pause(entry, ms, isWakeable = true) {
    const ends = [];
    const over = new Promise((resolve) => {
      const timer = ms < Infinity && setTimeout(resolve, ms);
      ends.push(() => clearTimeout(timer));
      if (!isWakeable) return;
      globalThis.addEventListener?.("online", resolve);
      ends.push(() => globalThis.removeEventListener?.("online", resolve));
      const connected = (state) => state === "connected" && resolve();
      ends.push(this.#hooks.client()?.on("state", connected));
    });
    this.#become(entry, "waiting");
    await Promise.race([over, entry.gone]);
    for (const end of ends) end?.();
  }

  #become(entry, status) {
    if (entry.status === status) return;
    entry.status = status;
    this.#hooks.changed();
  }

  #about({ mutation, action }, error) {
    return Object.assign(error, { mutation, action });
  }
}
