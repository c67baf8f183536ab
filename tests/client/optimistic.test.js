// Optimistic updates over a channel and an application that do what the test says.
import assert from "node:assert/strict";
import { test } from "node:test";
import { backoff } from "../../realtime_kit/client/backoff.js";
import { Stream } from "../../realtime_kit/client/events.js";
import { optimistic, OptimisticError } from "../../realtime_kit/client/optimistic.js";
import { json, until } from "./fake.js";
import { pass, settle, stopTime } from "./time.js";

class FakeChannel extends Stream {
  state = "subscribing";

  subscribed() {
    this.state = "subscribed";
    this.receive("pusher:subscription_succeeded", {});
  }
}

/** A counter: `added` events carry what was added, so that twice is seen. */
function counter(t, options = {}) {
  const channel = new FakeChannel();
  const errors = [];
  const asked = []; // {mutation, attempt, signal, answer, fail} of each `send`
  const store = optimistic({
    initial: 0,
    channel,
    reduce: { added: (count, { by }) => count + by },
    onError: (error) => errors.push(error),
    ...options,
  });
  t.after(() => store.close());
  const add = (by) =>
    store.mutate(
      (count) => count + by,
      ({ mutation, attempt, signal, fetch }) =>
        new Promise((resolve, reject) => {
          asked.push({ mutation, attempt, signal, fetch, by, answer: resolve, fail: reject });
        }),
    );
  const event = (by, meta = {}) => channel.receive("added", { by }, meta);
  return { store, channel, errors, asked, add, event };
}

const network = () => new OptimisticError("network", "gone");

function online(t, value) {
  const events = new EventTarget();
  const define = (name, descriptor) => {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { configurable: true, ...descriptor });
    t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  };
  let isOn = value;
  let listeners = 0;
  define("navigator", { value: { get onLine() { return isOn; } } });
  define("addEventListener", { value: (...of) => { listeners += 1; events.addEventListener(...of); } });
  define("removeEventListener", { value: (...of) => { listeners -= 1; events.removeEventListener(...of); } });
  return {
    listeners: () => listeners,
    set(next) {
      isOn = next;
      events.dispatchEvent(new Event(next ? "online" : "offline"));
    },
  };
}

test("the view shows a mutation at once, the server's state not", async (t) => {
  const { store, asked, add } = counter(t);
  const shown = [];
  store.on("change", (state, pending) => shown.push([state, pending.map(({ status }) => status)]));
  add(5);
  assert.deepEqual([store.state, store.server], [5, 0]);
  assert.equal(store.pending[0].status, "sending");
  assert.match(store.pending[0].mutation, /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
  assert.equal(asked[0].mutation, store.pending[0].mutation);
  assert.deepEqual(shown.at(-1), [5, ["sending"]]);
});

test("the answer first, then the event: applied once", async (t) => {
  const { store, asked, add, event } = counter(t);
  const promise = add(5);
  asked[0].answer({ total: 5 });
  const { mutation } = asked[0];
  assert.deepEqual(await promise, { mutation, by: "answer", answer: { total: 5 } });
  assert.deepEqual([store.state, store.server, store.pending[0].status], [5, 0, "accepted"]);
  event(5, { mutation, id: "1" });
  assert.deepEqual([store.state, store.server, store.pending], [5, 5, []]);
});

test("the event first, then the answer: applied once, and resolved by the event", async (t) => {
  const { store, asked, add, event, errors } = counter(t);
  const promise = add(5);
  const { mutation } = asked[0];
  event(5, { mutation, id: "1" });
  assert.deepEqual(await promise, { mutation, by: "event", event: "added", data: { by: 5 } });
  assert.deepEqual([store.state, store.pending], [5, []]);
  asked[0].answer({});
  await settle();
  assert.equal(store.state, 5);
  assert.deepEqual(errors, []);
});

test("a failure after the event changes nothing", async (t) => {
  const { store, asked, add, event, errors } = counter(t);
  const promise = add(5);
  event(5, { mutation: asked[0].mutation });
  asked[0].answer(json({ error: "too late" }, 500));
  assert.equal((await promise).by, "event");
  await settle();
  assert.deepEqual([store.state, errors], [5, []]);
});

test("the same event twice counts once", async (t) => {
  const { store, asked, add, event } = counter(t);
  add(5);
  const { mutation } = asked[0];
  event(5, { mutation, id: "1" });
  event(5, { mutation, id: "1" });
  assert.equal(store.state, 5);
});

test("events of others go below what is pending, and settle nothing", async (t) => {
  const { store, add, event } = counter(t, {
    reduce: { added: (text, { by }) => `${text}${by}` },
    initial: "",
  });
  add("mine");
  event("theirs", { mutation: "another", id: "1" });
  event("nobody's");
  assert.equal(store.state, "theirsnobody'smine");
  assert.equal(store.pending.length, 1);
});

test("an event without a reducer is none of its business", async (t) => {
  const { store, channel, asked, add } = counter(t);
  add(5);
  channel.receive("mailed", {}, { mutation: asked[0].mutation });
  channel.receive("toString", {}, { mutation: asked[0].mutation });
  assert.deepEqual([store.state, store.pending.length], [5, 1]);
});

test("a whisper settles nothing, whatever it claims", async (t) => {
  const { store, channel, asked, add } = counter(t, { reduce: { "client-added": (count) => count } });
  add(5);
  channel.receive("client-added", {}, { mutation: asked[0].mutation });
  assert.equal(store.pending.length, 1);
});

test("rolled back with the reason, by an answer outside 2xx", async (t) => {
  for (const [response, message, status] of [
    [json({ error: "the list is full" }, 409), "the list is full", 409],
    [json({ message: "no" }, 500), "no", 500],
    [new Response("<html>", { status: 502 }), "answered 502", 502],
    [json({}, 429), "answered 429", 429],
  ]) {
    const { store, asked, add, event, errors } = counter(t);
    const [first, second] = [add(5), add(7)];
    assert.equal(store.state, 12);
    asked[0].answer(response);
    await assert.rejects(first, { name: "OptimisticError", code: "refused", message, status, mutation: asked[0].mutation });
    assert.deepEqual([store.state, store.pending.length, errors.length], [7, 1, 1]);
    assert.equal(errors[0].mutation, asked[0].mutation);
    await until(() => asked[1], "the next one goes on");
    event(7, { mutation: asked[1].mutation });
    assert.equal((await second).by, "event");
    assert.equal(store.state, 7);
  }
});

test("a redirect to a login page is no success", async (t) => {
  const { store, asked, add } = counter(t);
  const promise = add(5);
  const page = new Response("<h1>Log in", { status: 200 });
  Object.defineProperty(page, "redirected", { value: true });
  asked[0].answer(page);
  await assert.rejects(promise, { code: "refused", message: "answered a redirect", status: 200 });
  assert.equal(store.state, 0);
});

test("what send throws is a refusal, and not tried again", async (t) => {
  const { store, errors } = counter(t);
  const cause = new RangeError("my own");
  const promise = store.mutate((count) => count + 1, () => { throw cause; });
  await assert.rejects(promise, { code: "refused", message: "my own", cause });
  assert.deepEqual([store.state, errors.length], [0, 1]);
});

test("apply cannot write into the server's state, nor reduce", async (t) => {
  const initial = { items: [{ id: 1 }], meta: { by: null } };
  const { store, channel, errors, event } = counter(t, {
    initial,
    reduce: {
      added: ({ items, ...rest }, item) => ({ ...rest, items: [...items, item] }),
      spoiled: (state) => (state.items.push({}), state),
    },
  });
  const push = (state) => (state.items.push({ id: 2 }), state);
  const mark = (state) => (state.items.forEach((item) => (item.done = true)), state);
  event(3);
  for (const apply of [push, mark]) assert.throws(() => store.mutate(apply, () => {}), TypeError);
  channel.receive("spoiled", {});
  assert.deepEqual([errors[0].code, store.pending.length], ["reduce_failed", 0]);
  assert.deepEqual(store.state, { items: [{ id: 1 }, { by: 3 }], meta: { by: null } });
});

test("thousands that wait: each is applied once for itself, and once for each event", async (t) => {
  online(t, false);
  let applied = 0;
  const { store, event } = counter(t);
  const add = (count) => {
    applied += 1;
    return count + 1;
  };
  for (let made = 0; made < 2000; made += 1) store.mutate(add, () => {});
  await settle();
  assert.deepEqual([store.state, applied], [2000, 2000]);
  event(5);
  assert.deepEqual([store.state, applied], [2005, 4000]);
});

test("what apply throws at once is thrown at the caller, and nothing is sent", (t) => {
  const { store, asked } = counter(t);
  const broken = () => { throw new RangeError("no"); };
  assert.throws(() => store.mutate(broken, () => asked.push("sent")), RangeError);
  assert.deepEqual([store.pending, asked], [[], []]);
});

test("the body of a response is the answer, and settle may use it until the event comes", async (t) => {
  const { store, channel } = counter(t, {
    initial: [],
    reduce: { added: (list, item) => [...list, item] },
  });
  let mutation;
  const promise = store.mutate(
    (list, id) => [...list, { id, text: "a" }],
    (context) => { ({ mutation } = context); return json({ id: 42, text: "A" }, 201); },
    (list, item) => [...list, item],
  );
  assert.deepEqual(store.state, [{ id: store.pending[0].mutation, text: "a" }]);
  assert.deepEqual((await promise).answer, { id: 42, text: "A" });
  assert.deepEqual([store.state, store.server], [[{ id: 42, text: "A" }], []]);
  channel.receive("added", { id: 42, text: "A" }, { mutation, id: "1" });
  assert.deepEqual(store.server, [{ id: 42, text: "A" }]);
  assert.equal(store.state, store.server);
});

test("settle is asked though there is nothing in the answer", async (t) => {
  const { store } = counter(t);
  await store.mutate((count) => count + 1, () => undefined, (count, answer) => (answer === undefined ? count + 2 : 0));
  assert.equal(store.state, 2);
});

test("an event under way before the answer stays below what was answered", async (t) => {
  const { store, channel } = counter(t, { reduce: { put: (_, value) => value } });
  let mutation;
  await store.mutate(() => 2, (context) => (({ mutation } = context), { value: 2 }), (_, { value }) => value);
  channel.receive("put", 1, { id: "1" });
  assert.equal(store.state, 2);
  channel.receive("put", 2, { id: "2", mutation });
  assert.deepEqual([store.state, store.server], [2, 2]);
});

test("the requests carry the mutation's id, through the client", async (t) => {
  const requests = [];
  const client = {
    on: () => () => {},
    fetch: async (url, init) => (requests.push([url, init]), json({ done: true })),
  };
  const { store } = counter(t, { client });
  const { mutation, answer } = await store.mutate(
    (count) => count,
    ({ fetch }) => fetch("/like", { method: "POST", headers: { "X-Own": "1" } }),
  );
  const [[url, { method, headers, signal }]] = requests;
  assert.deepEqual([url, method, headers.get("X-Mutation-Id"), headers.get("X-Own")], ["/like", "POST", mutation, "1"]);
  assert.ok(signal instanceof AbortSignal);
  assert.deepEqual(answer, { done: true });
});

test("one after the other, in order", async (t) => {
  const { asked, add } = counter(t);
  const all = [add(1), add(2), add(3)];
  for (const by of [1, 2, 3]) {
    await until(() => asked.length === by);
    await settle();
    assert.equal(asked.length, by, "the next one waits");
    asked.at(-1).answer({});
  }
  await Promise.all(all);
  assert.deepEqual(asked.map(({ by }) => by), [1, 2, 3]);
});

test("an event that settles lets the next one go, though the answer never comes", async (t) => {
  const { asked, add, event } = counter(t);
  add(1);
  add(2);
  event(1, { mutation: asked[0].mutation });
  await until(() => asked.length === 2);
  assert.equal(asked[0].signal.aborted, false, "the server may still be at work");
});

test("nobody answers: tried again with the same id, after a back-off", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  t.mock.method(Math, "random", () => 0.5);
  const { store, asked, add, errors } = counter(t);
  const promise = add(5);
  for (let tries = 1; tries <= 3; tries += 1) {
    asked.at(-1).fail(network());
    await until(() => store.pending[0].status === "waiting");
    assert.equal(store.pending[0].error.code, "network");
    assert.equal(store.state, 5, "still shown");
    t.mock.timers.tick(backoff(tries - 1) - 1);
    await settle();
    assert.equal(asked.length, tries, "not before");
    t.mock.timers.tick(1);
    await until(() => asked.length === tries + 1);
  }
  assert.deepEqual(asked.map(({ attempt }) => attempt), [0, 1, 2, 3]);
  assert.equal(new Set(asked.map(({ mutation }) => mutation)).size, 1);
  asked.at(-1).answer({});
  assert.equal((await promise).by, "answer");
  assert.deepEqual(errors, []);
});

test("after `retries` it gives up, and says that it was the network", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { store, asked, add } = counter(t, { retries: 1 });
  const promise = add(5);
  asked[0].fail(network());
  await until(() => store.pending[0].status === "waiting");
  t.mock.timers.tick(5000);
  await until(() => asked.length === 2);
  asked[1].fail(network());
  await assert.rejects(promise, { code: "network" });
  assert.equal(store.state, 0);
});

test("what fails under the given fetch is the network; an abort by the caller is not", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let fails = true;
  t.mock.method(globalThis, "fetch", async (_, { signal }) => {
    signal.throwIfAborted();
    if (fails) throw new TypeError("fetch failed");
    return json({});
  });
  const { store } = counter(t);
  const promise = store.mutate((count) => count + 1, ({ fetch }) => fetch("http://app.test/"));
  await until(() => store.pending[0].status === "waiting");
  assert.equal(store.pending[0].error.cause.message, "fetch failed");
  fails = false;
  t.mock.timers.tick(5000);
  await promise;
  const signal = AbortSignal.abort();
  const aborted = store.mutate((count) => count, ({ fetch }) => fetch("http://app.test/", { signal }));
  await assert.rejects(aborted, ({ code, cause }) => code === "refused" && cause === signal.reason);
});

test("Retry-After of 429 and 503 is obeyed, and the id stays", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  t.mock.method(Math, "random", () => 0);
  const { store, asked, add } = counter(t);
  const promise = add(5);
  asked[0].answer(json({ error: "busy" }, 503, { "Retry-After": "7" }));
  await until(() => store.pending[0].status === "waiting");
  t.mock.timers.tick(6999);
  await settle();
  assert.equal(asked.length, 1);
  t.mock.timers.tick(1);
  await until(() => asked.length === 2);
  assert.equal(asked[1].mutation, asked[0].mutation);
  asked[1].answer({});
  await promise;
});

test("an answer that does not come in time counts as the network, and its request is aborted", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { store, asked, add } = counter(t, { timeout: 1000, retries: 0 });
  const promise = add(5);
  t.mock.timers.tick(1000);
  await assert.rejects(promise, { code: "network", message: "no answer in time" });
  assert.equal(asked[0].signal.aborted, true);
  assert.equal(store.state, 0);
});

test("offline: kept, then sent in order, once", async (t) => {
  const network = online(t, false);
  const { store, asked, add } = counter(t);
  const all = [add(1), add(2), add(3)];
  await settle();
  assert.deepEqual([asked.length, store.state], [0, 6]);
  assert.deepEqual(store.pending.map(({ status }) => status), ["waiting", "queued", "queued"]);
  network.set(true);
  for (let sent = 1; sent <= 3; sent += 1) {
    await until(() => asked.length === sent);
    asked.at(-1).answer({});
  }
  await Promise.all(all);
  assert.deepEqual(asked.map(({ by }) => by), [1, 2, 3]);
  assert.equal(network.listeners(), 0);
});

test("tries made while offline do not count, and coming back makes one at once", async (t) => {
  const net = online(t, true);
  const { store, asked, add } = counter(t, { retries: 0 });
  const promise = add(1);
  net.set(false);
  asked[0].fail(network());
  await until(() => store.pending[0].status === "waiting");
  net.set(true);
  await until(() => asked.length === 2);
  asked[1].answer({});
  assert.equal((await promise).by, "answer");
});

test("a client that is connected again makes a try at once", async (t) => {
  let told;
  let offs = 0;
  const client = { on: (_, handler) => ((told = handler), () => (offs += 1)), fetch };
  const { store, asked, add } = counter(t, { client });
  add(1);
  asked[0].fail(network());
  await until(() => store.pending[0].status === "waiting");
  told("connected");
  await until(() => asked.length === 2);
  assert.equal(offs, 1);
});

test("a lost event: the state is fetched anew", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let server = 0;
  let reloads = 0;
  const reload = async () => ((reloads += 1), { state: server });
  const { store, asked, add } = counter(t, { reload, eventWithin: 3000 });
  add(5);
  asked[0].answer({});
  await until(() => store.pending[0].status === "accepted");
  server = 15; // somebody else was there, too
  t.mock.timers.tick(2999);
  await settle();
  assert.deepEqual([reloads, store.state], [0, 5]);
  t.mock.timers.tick(1);
  await until(() => store.pending.length === 0);
  assert.deepEqual([reloads, store.state, store.server], [1, 15, 15]);
});

test("a lost event and no reload: what was answered becomes the state, and a late event is too late", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { store, asked, add, event } = counter(t);
  add(5);
  asked[0].answer({});
  await until(() => store.pending[0].status === "accepted");
  t.mock.timers.tick(5000);
  assert.deepEqual([store.state, store.server, store.pending], [5, 5, []]);
  event(5, { mutation: asked[0].mutation });
  assert.equal(store.state, 5);
});

test("eventWithin 0: the answer alone settles", async (t) => {
  const { store, asked, add } = counter(t, { eventWithin: 0 });
  const promise = add(5);
  asked[0].answer({});
  await promise;
  assert.deepEqual([store.server, store.pending], [5, []]);
});

test("subscribed: fetched anew, because of what happened since the page was made", async (t) => {
  const { store, channel } = counter(t, { reload: async () => ({ state: 3 }) });
  assert.equal(store.state, 0);
  channel.subscribed();
  await until(() => store.state === 3);
});

test("with a position and a history, a subscription needs no reload; a gap does", async (t) => {
  let reloads = 0;
  let gap;
  const channel = new FakeChannel();
  channel.onGap = (handler) => ((gap = handler), () => {});
  channel.position = "e:4";
  const store = optimistic({
    initial: 0,
    position: "e:4",
    channel,
    reload: async () => ((reloads += 1), { state: 9, position: "e:9" }),
    reduce: { added: (count, { by }) => count + by },
  });
  t.after(() => store.close());
  channel.subscribed();
  channel.subscribed();
  channel.receive("added", { by: 1 }, { epoch: "e", offset: 4 });
  channel.receive("added", { by: 1 }, { epoch: "e", offset: 5 });
  assert.deepEqual([reloads, store.state], [0, 1]);
  gap();
  await until(() => reloads === 1 && store.state === 9);
});

test("events during a reload come on top of it; those that are in it do not count twice", async (t) => {
  let answer;
  const reload = () => new Promise((resolve) => (answer = resolve));
  const { store, event } = counter(t, { reload });
  const done = store.reload();
  event(1, { epoch: "e", offset: 7, id: "7" });
  event(1, { epoch: "e", offset: 8, id: "8" });
  assert.equal(store.state, 2, "shown meanwhile");
  answer({ state: 100, position: "e:7" });
  await done;
  assert.equal(store.state, 101);
  event(1, { epoch: "e", offset: 7, id: "7 again" });
  event(1, { epoch: "f", offset: 1, id: "another epoch" });
  assert.equal(store.state, 102);
});

test("a reload keeps what the server had not accepted when it was asked for", async (t) => {
  let answer;
  const { store, asked, add, event } = counter(t, { reload: () => new Promise((resolve) => (answer = resolve)) });
  add(1);
  const done = store.reload();
  asked[0].answer({});
  await until(() => store.pending[0].status === "accepted");
  answer({ state: 10 });
  await done;
  assert.deepEqual([store.state, store.pending.length], [11, 1]);
  event(1, { mutation: asked[0].mutation });
  assert.deepEqual([store.state, store.pending.length], [11, 0]);
});

test("a reload that fails is told, and tried again; a later one takes its place", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const answers = [];
  const reload = ({ signal }) => new Promise((resolve, reject) => answers.push({ signal, resolve, reject }));
  const { store, errors } = counter(t, { reload });
  store.reload();
  answers[0].reject(new Error("down"));
  await until(() => errors.length === 1);
  assert.deepEqual([errors[0].code, errors[0].message], ["reload_failed", "reload: down"]);
  t.mock.timers.tick(1100);
  await until(() => answers.length === 2);
  const later = store.reload();
  assert.equal(answers[1].signal.aborted, true);
  answers[2].resolve({ state: 2 });
  await later;
  answers[1].resolve({ state: 1 });
  await settle();
  assert.equal(store.state, 2);
});

test("a reload that nobody answers is given up, and tried again", async (t) => {
  stopTime(t);
  const asked = [];
  const { store, errors } = counter(t, {
    timeout: 100,
    reload: ({ signal }) => new Promise((resolve) => asked.push({ signal, resolve })),
  });
  const done = store.reload();
  await pass(t, 100);
  assert.deepEqual([asked[0].signal.aborted, errors[0].code], [true, "reload_failed"]);
  await pass(t, backoff(0));
  asked[0].resolve({ state: 1 });
  asked[1].resolve({ state: 2 });
  await done;
  assert.deepEqual([store.state, asked.length], [2, 2]);
});

test("offline, a reload waits for the network, and nothing is wrong", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const net = online(t, true);
  const answers = [];
  const reload = () => new Promise((resolve, reject) => answers.push({ resolve, reject }));
  const { store, errors } = counter(t, { reload });
  const done = store.reload();
  net.set(false);
  answers[0].reject(new TypeError("fetch failed"));
  await settle();
  t.mock.timers.tick(60_000);
  await settle();
  assert.deepEqual([answers.length, errors], [1, []]);
  net.set(true);
  await until(() => answers.length === 2);
  answers[1].resolve({ state: 7 });
  await done;
  net.set(false);
  store.reload();
  await settle();
  assert.deepEqual([answers.length, store.state, errors, net.listeners()], [2, 7, [], 2]);
  store.close();
  await settle();
  assert.equal(net.listeners(), 0);
});

test("a reload that has failed is tried again as soon as the network is back", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const net = online(t, true);
  const answers = [() => { throw new Error("down"); }, async () => ({ state: 7 })];
  const { store, errors } = counter(t, { reload: () => answers.shift()() });
  store.reload();
  await until(() => errors.length === 1);
  net.set(true);
  await until(() => store.state === 7);
});

test("an answer outside 2xx is no state", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const answers = [json({ error: "later" }, 503), json(7)];
  t.mock.method(globalThis, "fetch", async () => answers.shift());
  const reload = async ({ fetch }) => ({ state: await (await fetch("http://app.test/")).json() });
  const { store, errors } = counter(t, { reload });
  store.reload();
  await until(() => errors.length === 1);
  assert.deepEqual([errors[0].code, errors[0].message, store.state], ["reload_failed", "reload: answered 503", 0]);
  t.mock.timers.tick(1100);
  await until(() => store.state === 7);
});

test("what cannot be applied to a new state is left out, and told once", async (t) => {
  const { store, channel, errors } = counter(t, {
    initial: { a: 1 },
    reduce: { emptied: () => ({}), noted: (state) => ({ ...state }) },
  });
  const apply = (state) => {
    if (!("a" in state)) throw new Error("a is gone");
    return { a: state.a + 1 };
  };
  store.mutate(apply, () => new Promise(() => {}));
  assert.deepEqual(store.state, { a: 2 });
  channel.receive("emptied", {});
  channel.receive("noted", {});
  assert.deepEqual(store.state, {});
  assert.deepEqual(errors.map(({ code }) => code), ["apply_failed"]);
});

test("an event that cannot be reduced is told, and the state is as before", async (t) => {
  const { store, channel, errors } = counter(t, { reduce: { added: (count, data) => count + data.by.much } });
  channel.receive("added", {});
  assert.deepEqual([store.state, errors[0].code], [0, "reduce_failed"]);
});

test("onError that throws stops nothing", async (t) => {
  const thrown = [];
  globalThis.reportError = (error) => thrown.push(error);
  t.after(() => delete globalThis.reportError);
  const { store, asked, add } = counter(t, { onError: () => { throw new Error("mine"); } });
  add(1).catch(() => {});
  add(2);
  asked[0].answer(json({}, 400));
  await until(() => asked.length === 2);
  assert.deepEqual([store.state, thrown.length], [2, 1]);
});

test("without onError the promise tells, and the console what has no promise", async (t) => {
  const warned = t.mock.method(console, "warn", () => {});
  const { store, channel, asked, add } = counter(t, { onError: undefined, reduce: { bad: () => { throw new Error("x"); } } });
  channel.receive("bad", {});
  assert.equal(warned.mock.callCount(), 1);
  const promise = add(1);
  asked[0].answer(json({}, 400));
  await assert.rejects(promise, { code: "refused" });
  assert.equal(warned.mock.callCount(), 1);
  assert.equal(store.state, 0);
});

// --- kept over a reload of the page ---

class FakeStorage extends Map {
  get length() { return this.size; }
  key = (at) => [...this.keys()][at] ?? null;
  getItem = (key) => this.get(key) ?? null;
  setItem = (key, value) => this.set(key, value);
  removeItem = (key) => this.delete(key);
}

function page(t, storage, more = {}) {
  const asked = [];
  const mutations = {
    add: {
      apply: (list, text, mutation) => [...list, [text, mutation]],
      send: (text, context) => new Promise((resolve) => asked.push({ text, ...context, answer: resolve })),
    },
  };
  return { ...counter(t, { initial: [], reduce: {}, mutations, storage, key: "todos of 7", ...more }), asked };
}

test("what was not answered is sent by the next page, in order, with the same ids", async (t) => {
  const storage = new FakeStorage();
  const before = page(t, storage);
  const closed = ["a", "b", "c"].map((text) => before.store.mutate("add", text));
  before.asked[0].answer({});
  await until(() => before.asked.length === 2);
  const ids = before.store.pending.map(({ mutation }) => mutation);
  before.store.close();
  await assert.rejects(closed[1], { code: "closed", action: { name: "add", args: "b" } });

  const after = page(t, storage);
  assert.deepEqual(after.store.state, [["b", ids[1]], ["c", ids[2]]]);
  after.asked[0].answer({});
  await until(() => after.asked.length === 2);
  assert.deepEqual(after.asked.map(({ text, mutation }) => [text, mutation]), after.store.state);
  after.asked[1].answer({});
  await until(() => after.store.pending.every(({ status }) => status === "accepted"));
  assert.equal(storage.size, 0);
});

test("a refused one is not kept", async (t) => {
  const storage = new FakeStorage();
  const { store, asked } = page(t, storage);
  const promise = store.mutate("add", "a");
  assert.equal(storage.size, 1);
  asked[0].answer(json({}, 400));
  await assert.rejects(promise, { action: { name: "add", args: "a" } });
  assert.equal(storage.size, 0);
});

test("a storage that is full or holds nonsense is told, and goes no further", async (t) => {
  const row = "todos of 7 1-2";
  for (const kept of ["{", "7", '{"name":"add"}', '{"at":1,"name":"gone"}']) {
    const storage = new FakeStorage([[row, kept]]);
    const { store, errors } = page(t, storage);
    assert.deepEqual([errors.map(({ code }) => code), store.pending], [["storage_failed"], []], kept);
    assert.equal(storage.get(row), kept, "another version of the page may know it");
  }
  const others = new FakeStorage([["todos of 7", "{"], ["todos of 77 1-2", "{"], ["todos of 7 and 8 1-2", "{"]]);
  assert.deepEqual(page(t, others).errors, []);
  const full = new FakeStorage();
  full.setItem = () => { throw new Error("quota"); };
  const { store, errors } = page(t, full);
  store.mutate("add", "a");
  assert.deepEqual([errors[0].message, store.pending.length], ["storage: quota", 1]);
});

test("a storage needs a key, and a name its definition", (t) => {
  assert.throws(() => optimistic({ initial: 0, storage: new FakeStorage() }), TypeError);
  for (const name of ["nothing", "toString"]) assert.throws(() => counter(t).store.mutate(name, 1), TypeError);
});

// --- endings ---

test("close ends requests, timers and handlers, and refuses what comes later", async (t) => {
  const timers = new Set();
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  t.mock.method(globalThis, "setTimeout", (act, ...more) => {
    const timer = set(() => (timers.delete(timer), act()), ...more);
    timers.add(timer);
    return timer;
  });
  t.mock.method(globalThis, "clearTimeout", (timer) => (timers.delete(timer), clear(timer)));
  const net = online(t, true);
  const { store, channel, asked, add, event } = counter(t, { reload: () => new Promise(() => {}) });
  const [accepted, waiting] = [add(1), add(2)];
  channel.subscribed();
  asked[0].answer({});
  await accepted;
  await until(() => asked.length === 2);
  asked[1].fail(network());
  await until(() => store.pending[1].status === "waiting");
  assert.ok(timers.size >= 2 && net.listeners() === 2);
  store.close();
  await assert.rejects(waiting, { code: "closed" });
  await settle();
  assert.deepEqual([timers.size, net.listeners(), store.pending], [0, 0, []]);
  assert.equal(channel.emit("added", { by: 1 }, { event: "added" }), false, "nobody listens");
  event(9);
  assert.equal(store.server, 1);
  assert.throws(() => add(1), { code: "closed" });
  assert.throws(() => store.start(), { code: "closed" });
  store.close();
});

test("stopped, it still sends what there is", async (t) => {
  const { store, asked, add, event } = counter(t);
  const all = [add(1), add(2)];
  store.stop();
  asked[0].answer({});
  await until(() => asked.length === 2);
  asked[1].answer({});
  await Promise.all(all);
  event(9);
  assert.deepEqual([store.state, store.pending], [3, []]);
});
