const REMEMBERED = 500;

export class RealtimeError extends Error {
  name = "RealtimeError";

  constructor(code, message, { cause, ...details } = {}) {
    super(message, cause && { cause });
    Object.assign(this, { code, ...details });
  }
}

/** Named handlers, "*" for every name. One that throws never keeps the others from running. */
export class Emitter {
  #entries = new Set();

  on(name, handler) {
    const entry = { name, handler };
    this.#entries.add(entry);
    return () => void this.#entries.delete(entry);
  }

  /** Whether anybody heard it. */
  emit(name, ...values) {
    let heard = false;
    for (const entry of [...this.#entries]) {
      if ((entry.name !== name && entry.name !== "*") || !this.#entries.has(entry)) continue;
      heard = true;
      try {
        entry.handler(...values);
      } catch (error) {
        throwLater(error);
      }
    }
    return heard;
  }
}

// To window.onerror and the console; in Node an uncaughtException.
function throwLater(error) {
  if (globalThis.reportError) reportError(error);
  else setTimeout(() => { throw error; });
}

/** Events of one source, unwrapped, each id once. Handlers receive `(data, meta)`. */
export class Stream extends Emitter {
  /** `{epoch, offset}` of the newest event that has one: where a resume starts. */
  position = null;
  #seen = new Set();

  receive(event, raw, frameMeta = {}) {
    // Never out of a whisper: other users could forge ids and offsets.
    const { data, meta } = event.startsWith("client-") ? { data: raw, meta: frameMeta } : unwrap(raw, frameMeta);
    const { id, epoch, offset } = meta;
    if (offset !== undefined) this.position = { epoch, offset };
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

/**
 * Where a vendor carries data only, the ids ride inside: `{…object, _rk: {id, o, e, m}}`, or
 * `{_rk, d}` around data that is no object.
 */
export function unwrap(data, meta = {}) {
  if (!data?._rk) return { data, meta };
  const { _rk, ...rest } = data;
  const { id, o: offset, e: epoch, m: mutation } = _rk;
  const wrapped = Object.keys(rest).join() === "d";
  return { data: wrapped ? rest.d : rest, meta: { ...defined({ id, offset, epoch, mutation }), ...meta } };
}

/** Without the members that are undefined or null. */
export const defined = (object) =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value != null));

/** What a data string says as JSON; the string itself where it is none. */
export function decode(text) {
  try {
    return typeof text === "string" ? JSON.parse(text) : text;
  } catch {
    return text;
  }
}
