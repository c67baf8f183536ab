import { backoff } from "../backoff.js";
import { isOffline, pause } from "./pause.js";
import { attempt, OptimisticError } from "./sending.js";

const AWAY_MS = 1000; // of the page's own time: it stands still while the page is away

/**
 * Mutations in order, sent one after the other: two requests at once could reach the server in the
 * other order. `hooks`: fetch, client(), accepted(entry, answer), refused(entry, error), changed(),
 * exclusive(entry, run): tabs.js.
 */
export class Queue {
  entries = [];
  #get; // an option
  #hooks;
  #requests = new Map(); // what aborts it → entry
  #isSending = false;
  #isAway = false;
  #clock = 0; // later than all that was seen, whatever the time is

  constructor(get, hooks) {
    this.#get = get;
    this.#hooks = hooks;
  }

  add(entry) {
    const isFresh = entry.isOwn && !this.#isSending;
    Object.assign(entry, { status: "queued", attempts: 0, isFresh });
    entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    entry.gone = new Promise((resolve) => (entry.leave = resolve));
    this.place(entry);
  }

  place(entry) {
    entry.at ??= Math.max(Date.now(), this.#clock + 1);
    this.#clock = Math.max(this.#clock, entry.at);
    let place = this.entries.length;
    while (place && isBefore(entry, this.entries[place - 1])) place -= 1;
    this.entries.splice(place, 0, entry);
  }

  find(mutation) {
    return this.entries.find((entry) => entry.mutation === mutation);
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
    for (const request of this.#requests.keys()) request.abort();
  }

  /** The page goes away. What is kept is to be sent by another, or by this one when it is back. */
  leave() {
    this.#isAway = this.#isSending;
    const left = new OptimisticError("network", "the page was left");
    for (const [request, { isKept }] of this.#requests) if (isKept) request.abort(left);
  }

  async send() {
    if (this.#isSending) return;
    this.#isSending = true;
    for (let entry; (entry = this.#next()); ) {
      let wait = { entry, ms: this.#isAway ? AWAY_MS : Infinity };
      if (!this.#isHeldUp()) wait = await this.#hooks.exclusive(entry, (may) => this.#run(may));
      if (wait) await this.#pause(wait);
    }
    this.#isSending = false;
  }

  #next() {
    return this.entries.find(({ status }) => status !== "accepted");
  }

  #isHeldUp() {
    return this.#isAway || isOffline();
  }

  /** Sends one after the other; resolves to what is to be waited for. */
  async #run(may) {
    for (let entry; (entry = this.#next()) && may(entry) && !this.#isHeldUp(); ) {
      const wait = await this.#deliver(entry);
      if (wait) return wait;
    }
  }

  async #deliver(entry) {
    this.#become(entry, "sending");
    const isOurs = () => this.has(entry) && entry.status === "sending";
    try {
      // It may be settled by its event while the answer is still to come.
      const answer = await Promise.race([this.#attempt(entry), entry.gone]);
      if (isOurs()) this.#hooks.accepted(entry, answer);
    } catch (error) {
      if (isOurs()) return this.#failed(entry, this.#about(entry, error));
    }
  }

  async #attempt(entry) {
    const abort = new AbortController();
    this.#requests.set(abort, entry);
    try {
      const { fetch } = this.#hooks;
      return await attempt(entry, { fetch, timeout: this.#get("timeout"), abort });
    } finally {
      this.#requests.delete(abort);
    }
  }

  #failed(entry, error) {
    const { code, retryAfter } = error;
    const isCounted = code !== "network" || !this.#isHeldUp();
    const isPassing = code === "network" || retryAfter !== undefined;
    if (!isPassing || (isCounted && entry.attempts >= this.#get("retries"))) {
      this.remove(entry);
      this.#hooks.refused(entry, error);
      return;
    }
    entry.error = error;
    const ms = Math.max(retryAfter ?? 0, backoff(entry.attempts));
    if (isCounted) entry.attempts += 1;
    return { entry, ms, isWakeable: retryAfter === undefined };
  }

  async #pause({ entry, ms, isWakeable }) {
    entry.isFresh = false;
    this.#become(entry, "waiting");
    await pause(ms, entry.gone, { client: this.#hooks.client(), isWakeable });
    this.#isAway = false;
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

/** In one order in all tabs. */
const isBefore = (one, other) => one.at < other.at || (one.at === other.at && one.mutation < other.mutation);
