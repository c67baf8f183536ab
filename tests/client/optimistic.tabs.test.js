// Tabs of one browser that share a storage: what is kept is sent by one of them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Stream } from "../../realtime_kit/client/events.js";
import { optimistic, OptimisticError } from "../../realtime_kit/client/optimistic.js";
import { json } from "./fake.js";
import { pass, settle, stopTime } from "./time.js";

const KEY = "todos of 7";

/** Web Locks: exclusive ones, first come first served. */
class FakeLocks {
  held = new Map(); // name → {end}
  waiting = [];

  request = (name, { signal, ifAvailable }, act) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (ifAvailable && this.held.has(name)) return resolve(act(null));
      const wish = { name, act, resolve, reject };
      this.waiting.push(wish);
      signal?.addEventListener("abort", () => {
        if (!this.waiting.includes(wish)) return;
        this.waiting.splice(this.waiting.indexOf(wish), 1);
        reject(signal.reason);
      });
      this.#next(name);
    });

  #next(name) {
    const at = this.waiting.findIndex((wish) => wish.name === name);
    if (at < 0 || this.held.has(name)) return;
    const [{ act, resolve, reject }] = this.waiting.splice(at, 1);
    const lock = { end: () => this.held.get(name) === lock && (this.held.delete(name), this.#next(name)) };
    this.held.set(name, lock);
    Promise.resolve().then(() => act({ name })).then(resolve, reject).finally(lock.end);
  }
}

/** A browser: its network, its storage, its locks. `browser.tab()` opens a page in it. */
function open(t) {
  stopTime(t);
  const window = new EventTarget();
  const locks = new FakeLocks();
  let isOnline = true;
  const globals = {
    navigator: { locks, get onLine() { return isOnline; } },
    addEventListener: (...of) => window.addEventListener(...of),
    removeEventListener: (...of) => window.removeEventListener(...of),
  };
  for (const [name, value] of Object.entries(globals)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { configurable: true, value });
    t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  }
  const kept = new Map();
  const tabs = [];

  /** As one tab sees it; the others are told of each change, later. */
  function storage() {
    const change = (key, newValue) => {
      if (area.isDead) return;
      newValue === null ? kept.delete(key) : kept.set(key, newValue);
      for (const other of tabs) {
        if (other.storage === area || other.storage.isDead) continue;
        const told = Object.assign(new Event("storage"), { storageArea: other.storage, key, newValue });
        setImmediate(() => other.storage.isDead || window.dispatchEvent(told));
      }
    };
    const area = {
      get length() { return kept.size; },
      key: (at) => [...kept.keys()][at] ?? null,
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => change(key, value),
      removeItem: (key) => change(key, null),
    };
    return area;
  }

  const sent = []; // {tab, text, mutation, answer, fail}, in the order that the server sees
  function tab(name, more = {}) {
    const errors = [];
    const made = { name, storage: storage(), errors };
    tabs.push(made);
    const mutations = {
      add: {
        apply: (list, text) => [...list, text],
        send: (text, { mutation, signal }) =>
          new Promise((answer, fail) => sent.push({ tab: name, text, mutation, signal, answer, fail })),
        settle: (list, answer) => [...list, answer.text],
      },
    };
    made.store = optimistic({
      initial: [], key: KEY, storage: made.storage, mutations, onError: (error) => errors.push(error), ...more,
    });
    made.add = (text) => made.store.mutate("add", text);
    made.texts = () => made.store.state;
    /** The process ends: it writes nothing any more, and its lock is free. */
    made.crash = () => {
      made.storage.isDead = true;
      made.store.close();
    };
    t.after(() => made.store.close());
    return made;
  }
  return {
    tab, sent, kept, locks, window,
    set online(value) {
      isOnline = value;
      window.dispatchEvent(new Event(value ? "online" : "offline"));
    },
    /** Answers what comes, until nothing does. */
    async answer() {
      for (let at = 0; at < sent.length; at += 1) {
        sent[at].answer({ text: sent[at].text });
        await pass(t, 200);
      }
    },
    texts: () => sent.map(({ text }) => text),
  };
}

test("one tab sends at once, and the other shows it until it has happened", async (t) => {
  const browser = open(t);
  const [one, other] = [browser.tab("one"), browser.tab("other")];
  const promise = one.add("a");
  await settle();
  assert.deepEqual([browser.texts(), one.texts(), other.texts()], [["a"], ["a"], ["a"]]);
  browser.sent[0].answer({ text: "A" });
  assert.deepEqual((await promise).answer, { text: "A" });
  await settle();
  assert.deepEqual([one.texts(), other.texts()], [["A"], ["A"]]);
  await pass(t, 5000);
  assert.deepEqual([browser.texts(), browser.kept.size, other.errors], [["a"], 0, []]);
});

test("what two tabs kept offline is sent in order, each once, and each promise hears its answer", async (t) => {
  const browser = open(t);
  const [one, other] = [browser.tab("one"), browser.tab("other")];
  browser.online = false;
  const all = [];
  for (const [tab, text] of [[one, "a"], [other, "b"], [one, "c"], [other, "d"]]) {
    all.push(tab.add(text));
    await settle();
  }
  assert.deepEqual([one.texts(), other.texts()], [["a", "b", "c", "d"], ["a", "b", "c", "d"]]);
  browser.online = true;
  await pass(t, 200);
  await browser.answer();
  await pass(t, 5000);
  assert.deepEqual(browser.texts(), ["a", "b", "c", "d"]);
  const settled = await Promise.all(all);
  assert.deepEqual(settled.map(({ answer }) => answer.text), ["a", "b", "c", "d"]);
  assert.deepEqual([browser.kept.size, one.store.pending, other.store.pending], [0, [], []]);
});

test("a refusal is rolled back in both, and told to the one that made it", async (t) => {
  const browser = open(t);
  const [one, other, third] = ["one", "other", "third"].map((name) => browser.tab(name));
  browser.online = false;
  other.add("a"); // of two tabs: whoever sends, one is not its own
  await settle();
  const promise = one.add("b");
  await settle();
  browser.online = true;
  await pass(t, 200);
  browser.sent[0].answer({ text: "a" });
  await pass(t, 200);
  browser.sent[1].answer(json({ error: "the list is full" }, 422));
  await assert.rejects(promise, { code: "refused", message: "the list is full", status: 422, mutation: browser.sent[1].mutation });
  await settle();
  assert.deepEqual([one.texts(), other.texts(), third.texts()], [["a"], ["a"], ["a"]]);
  const sender = browser.sent[1].tab;
  for (const { name, errors } of [one, other, third]) {
    assert.equal(errors.length, name === "one" || name === sender ? 1 : 0, name);
  }
});

test("a tab that ends while its request is under way: the other takes it over, with the same id, and the rest", async (t) => {
  const browser = open(t);
  const [one, other] = [browser.tab("one"), browser.tab("other")];
  for (const text of ["a", "b"]) one.add(text).catch(() => {}); // nobody is there to hear it
  await settle();
  const mine = other.add("c");
  await pass(t, 5000);
  assert.deepEqual(browser.texts(), ["a"], "it waits for the other");
  one.crash();
  await pass(t, 200);
  assert.deepEqual(browser.sent.map(({ tab, text }) => [tab, text]), [["one", "a"], ["other", "a"]]);
  assert.equal(browser.sent[1].mutation, browser.sent[0].mutation);
  for (const at of [1, 2, 3]) {
    browser.sent[at].answer({ text: browser.sent[at].text });
    await pass(t, 200);
  }
  assert.deepEqual(browser.texts(), ["a", "a", "b", "c"]);
  assert.equal((await mine).answer.text, "c");
  assert.equal(browser.kept.size, 0);
});

test("a tab that ends idle: what it kept is sent by the other soon", async (t) => {
  const browser = open(t);
  const [one, other] = [browser.tab("one"), browser.tab("other")];
  browser.online = false;
  one.add("a");
  await settle();
  one.crash();
  browser.online = true;
  await pass(t, 2500);
  assert.deepEqual(browser.sent.map(({ tab, text }) => [tab, text]), [["other", "a"]]);
  assert.deepEqual(other.texts(), ["a"]);
});

test("all tabs end: the next page takes it up, and not what was done before", async (t) => {
  const browser = open(t);
  const one = browser.tab("one");
  for (const text of ["a", "b", "c"]) one.add(text);
  await settle();
  browser.sent[0].answer({ text: "a" });
  await pass(t, 200);
  one.crash();
  const done = `${KEY} ${browser.sent[0].mutation}`;
  browser.kept.set(done, JSON.stringify({ done: { answer: {} } })); // it ended before that was removed
  const next = browser.tab("next");
  assert.deepEqual([next.texts(), browser.kept.has(done)], [["b", "c"], false]);
  await pass(t, 200);
  assert.deepEqual(browser.sent.filter(({ tab }) => tab === "next").map(({ text }) => text), ["b"]);
});

test("a page that goes into the back/forward cache lets go of the lock; back again, it has missed nothing", async (t) => {
  const browser = open(t);
  const one = browser.tab("one", { retries: 0 });
  const promise = one.add("a");
  await settle();
  assert.equal(browser.locks.held.size, 1);
  browser.window.dispatchEvent(new Event("pagehide"));
  await settle();
  assert.deepEqual([browser.locks.held.size, browser.locks.waiting.length, browser.sent[0].signal.aborted], [0, 0, true]);
  const [[name]] = browser.kept;
  browser.kept.delete(name); // sent by another, and nobody is told in there
  browser.window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  assert.equal((await promise).answer, undefined);
  await pass(t, 2000);
  assert.deepEqual([browser.texts(), one.errors, one.store.pending], [["a"], [], []]);
});

test("an event settles it in each tab, whoever sends it", async (t) => {
  const browser = open(t);
  const channels = [new Stream(), new Stream()];
  const reduce = { added: (list, { text }) => [...list, text] };
  const tabs = channels.map((channel, at) => browser.tab(`${at}`, { channel, reduce }));
  const promise = tabs[0].add("a");
  await settle();
  const { mutation } = browser.sent[0];
  for (const channel of channels.toReversed()) channel.receive("added", { text: "A" }, { mutation });
  assert.equal((await promise).by, "event");
  await settle();
  browser.sent[0].answer({ text: "A" });
  await pass(t, 10_000);
  for (const tab of tabs) assert.deepEqual([tab.texts(), tab.store.server, tab.store.pending], [["A"], ["A"], []]);
  assert.deepEqual([browser.texts(), browser.kept.size], [["a"], 0]);
});

test("an event that is faster than the news of the other tab is not shown twice", async (t) => {
  const browser = open(t);
  const channel = new Stream();
  const other = browser.tab("other", { channel, reduce: { added: (list, { text }) => [...list, text] } });
  const one = browser.tab("one");
  one.add("a");
  channel.receive("added", { text: "a" }, { mutation: one.store.pending[0].mutation });
  await settle();
  assert.deepEqual(other.texts(), ["a"]);
});

test("what another tab asks of the storage is its own: another key, another version, a storage that is cleared", async (t) => {
  const browser = open(t);
  const [one, other] = [browser.tab("one"), browser.tab("other", { key: "todos of 8" })];
  const older = browser.tab("older", { mutations: {} });
  one.add("a");
  await settle();
  assert.deepEqual([other.texts(), older.texts(), older.errors.map(({ code }) => code)], [[], [], ["storage_failed"]]);
  browser.kept.clear();
  browser.window.dispatchEvent(Object.assign(new Event("storage"), { storageArea: one.storage, key: null }));
  await settle();
  assert.equal(one.store.pending[0].status, "sending", "it may be with the server");
});

test("four thousand are kept in no time, and listeners and timers go with their store", async (t) => {
  const browser = open(t);
  browser.online = false;
  const one = browser.tab("one");
  let written = 0;
  const { setItem } = one.storage;
  one.storage.setItem = (key, text) => ((written += text.length), setItem(key, text));
  const all = Array.from({ length: 4000 }, (_, at) => one.add(`${at}`).catch(() => {}));
  assert.ok(written < 4000 * 100, `${written} characters`);
  one.store.close();
  await Promise.all(all);
  const next = browser.tab("next");
  assert.deepEqual(next.texts(), Array.from({ length: 4000 }, (_, at) => `${at}`));
  next.store.stop();
  next.store.close();
  await settle();
  assert.equal(browser.kept.size, 4000);
  assert.deepEqual([browser.locks.held.size, browser.locks.waiting.length], [0, 0]);
});

test("a try that fails lets go of the lock while it waits", async (t) => {
  const browser = open(t);
  const one = browser.tab("one");
  const promise = one.add("a");
  await settle();
  browser.sent[0].fail(new OptimisticError("network", "gone"));
  await settle();
  assert.deepEqual([browser.locks.held.size, one.store.pending[0].status], [0, "waiting"]);
  await pass(t, 3000);
  browser.sent[1].answer({ text: "a" });
  assert.equal((await promise).by, "answer");
});
