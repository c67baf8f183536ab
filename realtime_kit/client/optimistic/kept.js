// What is not sent yet, in a Storage: mutations with a name, because functions cannot be kept. Each
// has a row, `KEY ID`, so that one costs the same however many there are, and no tab writes over what
// another has kept.
const ID = /^[\da-f]+(-[\da-f]+)+$/;

// randomUUID is for secure contexts alone; a phone on the laptop's network has none.
export const uuid = () =>
  crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].join("-");

/** `failed(cause)`: storage may be full, forbidden, or hold what another version of the page wrote. */
export class Kept {
  #storage;
  #key;
  #failed;
  #strange = new Set(); // rows that cannot be read

  constructor(storage, key, failed) {
    this.#storage = storage;
    this.#key = key;
    this.#failed = failed;
  }

  put(entry) {
    const { mutation, at, action } = entry;
    entry.isKept = this.#write(mutation, { at, ...action });
  }

  /** What became of it, for the other tabs: {answer} or {error}. */
  tell({ mutation }, { answer, error }) {
    const { code, message, status, answer: body } = error ?? {};
    this.#write(mutation, { done: error ? { error: { code, message, status, answer: body } } : { answer } });
  }

  remove({ mutation }) {
    this.#keeping(() => this.#storage.removeItem(this.#of(mutation)));
  }

  isGone({ mutation, isKept }) {
    return isKept && this.#keeping(() => this.#storage.getItem(this.#of(mutation)) === null);
  }

  /** `[mutation, {at, name, args}]` of each, in order. */
  rows() {
    const storage = this.#storage;
    const all = () => Array.from({ length: storage.length }, (_, at) => storage.key(at));
    const rows = [];
    for (const name of this.#keeping(all) ?? []) {
      const { mutation, row } = this.read(name, () => storage.getItem(name));
      if (row?.done) this.remove({ mutation }); // its tab has ended in between
      else if (row) rows.push([mutation, row]);
    }
    return rows.sort(([, one], [, other]) => one.at - other.at);
  }

  /** `{mutation, row}`; empty if it is none of ours. `row` is null where there is no text. */
  read(name, get) {
    const start = this.#of("");
    const mutation = name.slice(start.length);
    if (!name.startsWith(start) || !ID.test(mutation)) return {};
    try {
      const row = JSON.parse(get());
      const isRow = row === null || row.done || (typeof row.name === "string" && Number.isFinite(row.at));
      if (isRow) return { mutation, row };
      throw new TypeError(`${name} is no mutation`);
    } catch (cause) {
      this.strange(mutation, cause);
      return {};
    }
  }

  /** Told once, and left where it is: another version of the page may know it. */
  strange(mutation, cause) {
    if (!this.#strange.has(mutation)) this.#failed(cause);
    this.#strange.add(mutation);
  }

  #of(mutation) {
    return `${this.#key} ${mutation}`;
  }

  #write(mutation, row) {
    return this.#keeping(() => {
      this.#storage.setItem(this.#of(mutation), JSON.stringify(row));
      return true;
    });
  }

  #keeping(act) {
    try {
      return act();
    } catch (cause) {
      this.#failed(cause);
    }
  }
}
