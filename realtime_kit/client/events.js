const REMEMBERED = 500;

export class RealtimeError extends Error {
  name = "RealtimeError";

  constructor(code, message, { cause, ...details } = {}) {
    super(message, cause && { cause });
    Object.assign(this, { code, ...details });
  }
}

export class Emitter {
  #entries = new Set();

  on(name, handler) {
    const entry = { name, handler };
    this.#entries.add(entry);
    return () => void this.#entries.delete(entry);
  }

  emit(name, ...values) {
    let heard = false;
    for (const entry of [...this.#entries]) {
      if ((entry.name !== name && entry.name !== "*") || !this.#entries.has(entry)) continue;
      heard = true;
      try {
        entry.handler(...values);
      } catch (error) {
        throwLater(error); // the other handlers are to run
      }
    }
    return heard;
  }
}

function throwLater(error) {
  if (globalThis.reportError) reportError(error);
  else setTimeout(() => { throw error; });
}

/** Events of one source, unwrapped, each id once. */
export class Stream extends Emitter {
  position = null;
  #seen = new Set();

  receive(event, data, meta = {}) {
    // Not out of whispers: users could forge ids.
    if (!event.startsWith("client-")) ({ data, meta } = unwrap(data, meta));
    const { id, epoch, offset } = meta;
    if (offset !== undefined) this.position = `${epoch}:${offset}`;
    if (id !== undefined) {
      if (this.#seen.has(id)) return;
      this.#seen.add(id);
      if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value);
    }
    this.deliver(event, data, { event, ...meta });
  }

  deliver(event, data, meta) {
    this.emit(event, data, meta);
  }
}

/** Ids may ride in the data: {…object, _rk: {id, o, e, m}} or {_rk, d}. */
export function unwrap(data, meta = {}) {
  if (!data?._rk) return { data, meta };
  const { _rk, ...rest } = data;
  const { id, o: offset, e: epoch, m: mutation } = _rk;
  const isWrapped = Object.keys(rest).join() === "d";
  const ids = defined({ id, offset, epoch, mutation });
  return { data: isWrapped ? rest.d : rest, meta: { ...ids, ...meta } };
}

export const defined = (object) =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value != null));

/** JSON, or the string itself where it is none. */
export function decode(text) {
  try {
    return typeof text === "string" ? JSON.parse(text) : text;
  } catch {
    return text;
  }
}

/** Resolves after `ms`, or when `signal` ends it. */
export const sleep = (ms, signal) =>
  new Promise((resolve) => {
    const stop = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      resolve();
    };
    const timer = setTimeout(stop, signal.aborted ? 0 : ms);
    signal.addEventListener("abort", stop);
  });
