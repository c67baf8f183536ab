// The hooks in a page (jsdom), over the client and a server in this process.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setOnline, setVisible } from "./dom.js";
import { FakeServer, json, until } from "./fake.js";
import { connect } from "../../realtime_kit/client/realtime.js";
import { settle } from "./time.js";

const { createElement: h, StrictMode, useEffect, version } = await import("react");
const { createRoot, hydrateRoot } = await import("react-dom/client");
const { renderToString } = await import("react-dom/server");
const {
  RealtimeProvider, useChannel, useChannelState, useConnectionState, useEvent, useEventSource, useOptimistic, usePolling,
  usePresence, useRealtime, useSocket,
} = await import("../../realtime_kit/client/react/index.js");

const CONFIG_URL = "http://app.test/realtime/config";

/** A page: `show(element)` renders it; what React complains of fails the test. */
function page(t, { strict = true } = {}) {
  const server = new FakeServer();
  const complaints = [];
  const complain = (...words) => complaints.push(words.map((word) => word.error?.stack ?? word).join(" "));
  t.mock.method(console, "error", complain);
  addEventListener("error", complain); // where React 19 tells what nobody caught
  const container = document.body.appendChild(document.createElement("div"));
  const root = createRoot(container);
  const options = { configUrl: CONFIG_URL, WebSocket: server.WebSocket, fetch: server.fetch };
  let isOver = false;
  const end = () => {
    if (!isOver) root.unmount();
    isOver = true;
  };
  t.after(() => {
    end();
    container.remove();
    removeEventListener("error", complain);
    assert.deepEqual(complaints, []);
  });
  const show = (element, props = {}) => {
    const whole = h(RealtimeProvider, { options, ...props }, element);
    root.render(strict ? h(StrictMode, null, whole) : whole);
  };
  const text = () => container.textContent;
  const frames = (event) => server.sockets.flatMap((socket) => socket.sent(event).map(({ data }) => data.channel));
  return { server, show, text, frames, end, root, complaints };
}

/** A component that hands what its hook returned to `results`. */
function probe(useHook) {
  const results = [];
  function Probe(props) {
    const value = useHook(props);
    results.push(value);
    return null;
  }
  return { Probe, results, get last() { return results.at(-1); } };
}

const subscribed = (server, name) => until(() => server.socket?.subscribed.has(name), `subscribed to ${name}`);

// --- the client ---

test(`StrictMode makes one connection, and unmounting ends it (React ${version})`, async (t) => {
  const { server, show, end } = page(t);
  const seen = probe(() => [useRealtime(), useConnectionState()]);
  show(h(seen.Probe));
  await until(() => seen.last?.[1] === "connected");
  assert.deepEqual(seen.results[0], [null, "connecting"]);
  assert.equal(server.sockets.length, 1);
  const [client] = seen.last;
  end();
  await until(() => client.state === "closed");
  assert.equal(server.sockets.length, 1);
});

test("a given client is used, and not closed; another one is taken up", async (t) => {
  const { server, show, end } = page(t);
  const [first, second] = [server.connect(t), server.connect(t)];
  const seen = probe(() => useRealtime());
  show(h(seen.Probe), { client: first });
  await until(() => seen.last === first);
  show(h(seen.Probe), { client: second });
  await until(() => seen.last === second);
  end();
  await settle();
  assert.notEqual(first.state, "closed");
  assert.notEqual(second.state, "closed");
});

test("without a provider it says what is missing", (t) => {
  t.mock.method(console, "error", () => {});
  const Lost = () => h("p", null, useConnectionState());
  assert.throws(() => renderToString(h(Lost)), /<RealtimeProvider>/);
});

test("the state is shown as it changes", async (t) => {
  const { server, show, text } = page(t);
  const State = () => useConnectionState();
  show(h(State));
  await until(() => text() === "connected");
  server.onConnect = () => {};
  server.socket.drop(1006);
  await until(() => text() === "waiting");
});

test("what a server rendered is taken over without a difference", async (t) => {
  const { server, complaints } = page(t);
  const State = () => h("p", null, useConnectionState(), useOptimistic({ initial: 3, channel: "a" }).state);
  const whole = h(RealtimeProvider, { options: { configUrl: CONFIG_URL, WebSocket: server.WebSocket, fetch: server.fetch } }, h(State));
  const container = document.body.appendChild(document.createElement("div"));
  container.innerHTML = renderToString(whole);
  const root = hydrateRoot(container, whole);
  t.after(() => root.unmount());
  await until(() => container.textContent === "connected3");
  assert.deepEqual(complaints, []);
});

// --- channels ---

test("components share a subscription, and the last one leaves it", async (t) => {
  const { server, show, frames } = page(t);
  const [one, two] = [probe(() => useChannel("news")), probe(() => useChannel("news"))];
  show([h(one.Probe, { key: 1 }), h(two.Probe, { key: 2 })]);
  await subscribed(server, "news");
  await until(() => one.last && one.last === two.last);
  assert.equal(one.results[0], null);
  show([h(two.Probe, { key: 2 })]);
  await settle();
  assert.deepEqual([frames("pusher:subscribe"), frames("pusher:unsubscribe")], [["news"], []]);
  show(null);
  await until(() => frames("pusher:unsubscribe").length === 1);
  show([h(one.Probe, { key: 3 })]);
  await until(() => frames("pusher:subscribe").length === 2);
});

test("another name is another channel", async (t) => {
  const { server, show, frames } = page(t);
  const seen = probe(({ name }) => [name, useChannel(name)?.name ?? null]);
  for (const name of ["a", "b", null]) {
    show(h(seen.Probe, { name }));
    await until(() => seen.last?.[0] === name && seen.last[1] === name);
    if (name) await subscribed(server, name);
  }
  await until(() => frames("pusher:unsubscribe").length === 2);
  assert.deepEqual(frames("pusher:subscribe"), ["a", "b"]);
  for (const [name, joined] of seen.results) assert.ok(joined === null || joined === name, "never the former one");
  assert.equal(server.sockets.length, 1);
});

test("a channel that the page has subscribed to by itself is not left", async (t) => {
  const { server, show, frames } = page(t);
  const client = server.connect(t);
  client.subscribe("mine");
  const seen = probe(() => useChannel("mine"));
  show(h(seen.Probe), { client });
  await until(() => seen.last);
  show(null, { client });
  await new Promise((resolve) => setTimeout(resolve));
  await settle();
  assert.equal(client.channels.has("mine"), true);
  assert.deepEqual(frames("pusher:unsubscribe"), []);
});

test("inline handlers connect nothing anew, and the last one is called", async (t) => {
  const { server, show, frames } = page(t);
  const heard = [];
  const Inline = ({ count }) => {
    useEvent("news", "published", (article, { event }) => heard.push([count, article, event]));
    return null;
  };
  const seen = probe(() => useRealtime());
  for (let count = 0; count <= 20; count += 1) {
    show([h(Inline, { key: 1, count }), h(seen.Probe, { key: 2 })]);
    await settle();
  }
  await subscribed(server, "news");
  server.socket.event("news", "published", { title: "x" });
  await until(() => heard.length);
  assert.deepEqual(heard, [[20, { title: "x" }, "published"]]);
  assert.deepEqual([frames("pusher:subscribe"), frames("pusher:unsubscribe")], [["news"], []]);
});

test("useEvent takes a channel, too, and with none does nothing", async (t) => {
  const { server, show } = page(t);
  const heard = [];
  function Both({ isOn }) {
    const channel = useChannel("news");
    useEvent(channel, "published", (data) => heard.push(["object", data]));
    useEvent(isOn ? "news" : null, "published", (data) => heard.push(["name", data]));
    return channel?.name;
  }
  show(h(Both, { isOn: false }));
  await subscribed(server, "news");
  await settle();
  server.socket.event("news", "published", 1);
  await until(() => heard.length === 1);
  show(h(Both, { isOn: true }));
  await settle();
  server.socket.event("news", "published", 2);
  await until(() => heard.length === 3);
  assert.deepEqual(heard.map(([kind, data]) => kind + data).sort(), ["name2", "object1", "object2"]);
});

test("useChannelState says why a channel is denied", async (t) => {
  const { server, show } = page(t);
  server.grant = (name) => (name === "private-no" ? { status: 403, error: "denied" } : { auth: "app-key:x" });
  t.mock.method(console, "warn", () => {});
  const seen = probe(() => [useChannelState("private-no"), useChannelState("private-yes")]);
  show(h(seen.Probe));
  await until(() => seen.last?.[0].state === "denied" && seen.last[1].state === "subscribed");
  assert.deepEqual([seen.last[0].error.code, seen.last[1].error], ["denied", null]);
  assert.deepEqual(seen.results[0][0], { state: "subscribing", error: null });
  server.onConnect = () => {};
  server.socket.drop(1006);
  await until(() => seen.last[1].state === "subscribing");
});

test("usePresence: who is there, from anew on each change", async (t) => {
  const { server, show, text } = page(t);
  server.rosters["presence-room"] = { 1: { name: "Ada" } };
  function People() {
    const { members, me, count } = usePresence("presence-room");
    return `${count} ${members.map(({ info }) => info.name)} ${me?.info.name}`;
  }
  show(h(People));
  await until(() => text() === "1 Ada Ada");
  server.socket.event("presence-room", "pusher_internal:member_added", { user_id: "2", user_info: { name: "Bob" } });
  await until(() => text() === "2 Ada,Bob Ada");
  server.socket.event("presence-room", "pusher_internal:member_removed", { user_id: "2" });
  await until(() => text() === "1 Ada Ada");
});

test("usePresence shows nobody of one channel on the next", async (t) => {
  const { server, show } = page(t);
  server.rosters = { "presence-a": { 1: {}, 2: {} }, "presence-b": { 1: {} } };
  const seen = probe(({ name }) => [name, usePresence(name).count, useChannelState(name).state]);
  show(h(seen.Probe, { name: "presence-a" }));
  await until(() => seen.last?.[1] === 2 && seen.last[2] === "subscribed");
  show(h(seen.Probe, { name: "presence-b" }));
  await until(() => seen.last[1] === 1);
  const [next] = seen.results.filter(([name]) => name === "presence-b");
  assert.deepEqual(next, ["presence-b", 0, "subscribing"]);
});

test("usePresence of another kind of channel is an error that says so", async (t) => {
  const { show, complaints } = page(t, { strict: false });
  const { Component } = await import("react");
  let caught;
  class Boundary extends Component {
    state = { isBroken: false };
    static getDerivedStateFromError = () => ({ isBroken: true });
    componentDidCatch(error) { caught = error; }
    render() { return this.state.isBroken ? null : this.props.children; }
  }
  const Wrong = () => String(usePresence("news").count);
  show(h(Boundary, null, h(Wrong)));
  await until(() => caught);
  assert.match(caught.message, /news is no presence channel/);
  complaints.length = 0;
});

test("useSocket: on and emit of one channel", async (t) => {
  const { server, show } = page(t);
  const heard = [];
  const seen = probe(() => {
    const socket = useSocket("private-chat");
    const { on } = socket;
    useEffect(() => on("message", (data) => heard.push(data)), [on]);
    return socket;
  });
  show(h(seen.Probe));
  assert.equal(seen.last?.emit("typing") ?? false, false, "not yet");
  await until(() => seen.last?.isConnected && server.socket.subscribed.has("private-chat"));
  await until(() => seen.last.emit("typing", { on: true }));
  await until(() => server.socket.sent("client-typing").length === 1);
  server.socket.event("private-chat", "message", "hello");
  await until(() => heard.length);
  assert.deepEqual(heard, ["hello"]);
  assert.equal(new Set(seen.results.map(({ on }) => on)).size <= 2, true, "the same over renders");
});

test("useSocket: any channel, until the handler is taken off or the component unmounted", async (t) => {
  const { server, show, frames } = page(t);
  const heard = [];
  let off;
  const seen = probe(() => {
    const socket = useSocket();
    const { on } = socket;
    useEffect(() => { off = on("a", "x", (data) => heard.push(data)); return off; }, [on]);
    useEffect(() => void on("b", "x", () => {}), [on]); // whoever forgets
    return socket;
  });
  show(h(seen.Probe));
  await subscribed(server, "a");
  await subscribed(server, "b");
  assert.equal(seen.last.emit("nobody-is-here", "x"), false);
  server.socket.event("a", "x", 1);
  await until(() => heard.length);
  off();
  await until(() => frames("pusher:unsubscribe").includes("a"));
  show(null);
  await until(() => frames("pusher:unsubscribe").includes("b"));
  assert.deepEqual(heard, [1]);
});

test("useSocket: a handler that nobody takes off is called once under StrictMode", async (t) => {
  const { server, show } = page(t);
  const heard = [];
  const seen = probe(() => {
    const socket = useSocket("news");
    useEffect(() => void socket.on("x", (data) => heard.push(data)), [socket.on]);
    return socket;
  });
  show(h(seen.Probe));
  await subscribed(server, "news");
  server.socket.event("news", "x", 1);
  await until(() => heard.length);
  await settle();
  assert.deepEqual(heard, [1]);
});

test("useSocket of a channel that is subscribed to elsewhere, and of none", async (t) => {
  const { server, show } = page(t);
  const seen = probe(({ isOn }) => {
    const socket = useSocket(useChannel(isOn ? "private-chat" : null));
    useEffect(() => socket.on("client-typing", () => {}), [socket]);
    return socket;
  });
  show(h(seen.Probe, { isOn: false }));
  await until(() => seen.last?.isConnected);
  await settle();
  assert.deepEqual([seen.last.emit("typing"), [...server.socket.subscribed]], [false, []]);
  show(h(seen.Probe, { isOn: true }));
  await until(() => seen.last.emit("typing", { on: true }));
  const [{ data }] = server.socket.sent("client-typing");
  assert.deepEqual(data, { on: true });
});

// --- streams and polling ---

class FakeEventSource {
  static all = [];
  readyState = 0;
  handlers = {};

  constructor(url, { withCredentials }) {
    Object.assign(this, { url, withCredentials });
    FakeEventSource.all.push(this);
  }

  addEventListener(name, handler) {
    (this.handlers[name] ??= []).push(handler);
  }

  say(name, data, lastEventId = "") {
    for (const handler of this.handlers[name] ?? []) handler({ type: name, data, lastEventId });
  }

  fail(readyState) {
    this.readyState = readyState;
    this.onerror({ type: "error" });
  }

  close() {
    this.readyState = 2;
    this.isClosed = true;
  }

  static get open() {
    return FakeEventSource.all.filter(({ readyState }) => readyState !== 2);
  }
}

test("useEventSource: JSON, inline handlers, errors, and an end", async (t) => {
  FakeEventSource.all = [];
  globalThis.EventSource = FakeEventSource;
  t.after(() => delete globalThis.EventSource);
  t.mock.method(Math, "random", () => 0);
  const { show } = page(t);
  const heard = [];
  const errors = [];
  const seen = probe(({ count, url }) => useEventSource(url, {
    events: ["realtime:gap"],
    onMessage: (data, { type }) => heard.push([count, data, type]),
    onError: ({ type }) => errors.push(type),
  }));
  for (const count of [1, 2, 3]) {
    show(h(seen.Probe, { count, url: "/events?channel=news" }));
    await until(() => FakeEventSource.open.length === 1);
    await settle();
  }
  assert.equal(FakeEventSource.all.length, 2, "StrictMode opens twice, and closes once");
  let [source] = FakeEventSource.open;
  assert.equal(source.url, "http://app.test/events?channel=news");
  source.onopen();
  await until(() => seen.last === "open");
  source.say("message", '{"a":1}', "e:7");
  source.say("realtime:gap", "text");
  assert.deepEqual(heard, [[3, { a: 1 }, "message"], [3, "text", "realtime:gap"]]);

  source.fail(0);
  await until(() => seen.last === "connecting");
  await settle();
  assert.deepEqual([FakeEventSource.all.length, errors], [2, ["error"]], "the browser comes back by itself");
  source.fail(2);
  await until(() => FakeEventSource.open.length === 1);
  [source] = FakeEventSource.open;
  assert.equal(new URL(source.url).searchParams.get("position"), "e:7");

  show(h(seen.Probe, { url: null }));
  await until(() => seen.last === "closed" && FakeEventSource.open.length === 0);
});

/** Each call waits for the test to answer it. */
function asking() {
  const asked = [];
  const fetcher = ({ signal }) => new Promise((resolve, reject) => asked.push({ signal, resolve, reject }));
  return { asked, fetcher, running: () => asked.filter(({ signal, isOver }) => !signal.aborted && !isOver) };
}

test("usePolling: data, then an error that keeps it, one request after the other", async (t) => {
  const { show } = page(t, { strict: false });
  const { asked, fetcher } = asking();
  const seen = probe(() => usePolling({ fetcher: (ask) => fetcher(ask), interval: 1 }));
  t.mock.method(Math, "random", () => 0);
  show(h(seen.Probe));
  await until(() => asked.length === 1);
  const { refetch, ...first } = seen.last;
  assert.deepEqual(first, { data: undefined, error: null, isLoading: true });
  asked[0].resolve({ total: 1 });
  await until(() => asked.length === 2 && seen.last.data);
  assert.deepEqual([seen.last.data, seen.last.isLoading], [{ total: 1 }, false]);
  asked[1].reject(new Error("down"));
  await until(() => asked.length === 3 && seen.last.error);
  assert.deepEqual([seen.last.data, seen.last.error.message, seen.last.isLoading], [{ total: 1 }, "down", false]);
  const done = seen.last.refetch();
  assert.equal(asked[2].signal.aborted, true);
  asked[3].resolve({ total: 2 });
  await done;
  asked[2].resolve({ total: 0 });
  await until(() => seen.last.data?.total === 2);
  await settle();
  assert.deepEqual([seen.last.data, seen.last.error], [{ total: 2 }, null]);
  assert.equal(seen.last.refetch, refetch, "the same over renders");
});

test("usePolling rests while it is off, hidden or offline, and asks at once afterwards", async (t) => {
  const { show, end } = page(t);
  const { asked, fetcher, running } = asking();
  const seen = probe(({ enabled, key }) => usePolling({ fetcher, interval: 1, enabled, key }));
  show(h(seen.Probe, { enabled: false }));
  await until(() => seen.last);
  assert.deepEqual([seen.last.isLoading, asked.length], [false, 0]);
  await settle();
  assert.equal(asked.length, 0);
  const once = seen.last.refetch();
  asked[0].resolve("once");
  await once;
  await until(() => seen.last.data === "once");
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(asked.length, 1, "and not again");
  Object.assign(asked[0], { isOver: true });
  setVisible(false);
  show(h(seen.Probe, { enabled: true }));
  await until(() => seen.last);
  await settle();
  assert.equal(asked.length, 1, "nobody looks");
  setVisible(true);
  await until(() => running().length === 1);
  for (const [off, on] of [[() => setVisible(false), () => setVisible(true)], [() => setOnline(false), () => setOnline(true)]]) {
    off();
    const before = asked.length;
    Object.assign(running()[0], { isOver: true }).resolve(before);
    await until(() => seen.last.data === before);
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(asked.length, before);
    on();
    await until(() => running().length === 1);
  }
  show(h(seen.Probe, { enabled: true, key: "another" }));
  await until(() => running().length === 1);
  end();
  await until(() => running().length === 0);
});

test("usePolling with another interval asks at once, and keeps the data", async (t) => {
  const { show } = page(t, { strict: false });
  const { asked, fetcher } = asking();
  const seen = probe(({ interval }) => usePolling({ fetcher, interval }));
  show(h(seen.Probe, { interval: 1e6 }));
  await until(() => asked.length === 1);
  asked[0].resolve("one");
  await until(() => seen.last.data === "one");
  show(h(seen.Probe, { interval: 2e6 }));
  await until(() => asked.length === 2);
  assert.deepEqual([seen.last.data, seen.last.isLoading], ["one", false]);
});

test("usePolling with another key forgets the data", async (t) => {
  const { show } = page(t, { strict: false });
  const seen = probe(({ id }) => {
    const polled = usePolling({ key: id, interval: 1e6, fetcher: () => (id === 1 ? Promise.resolve("one") : new Promise(() => {})) });
    return [id, polled.data, polled.isLoading];
  });
  const Keyed = ({ id }) => h(seen.Probe, { id, key: "same" });
  show(h(Keyed, { id: 1 }));
  await until(() => seen.last?.[1] === "one");
  show(h(Keyed, { id: 2 }));
  await until(() => seen.last[0] === 2 && seen.last[2]);
  assert.deepEqual(seen.results.filter(([id, data]) => id === 2 && data), [], "not for one render");
});

// --- optimistic ---

function likes(t) {
  const asked = [];
  let isOver = false; // what is pending is sent also after the component has gone
  t.after(() => {
    isOver = true;
    for (const { answer } of asked) answer({});
  });
  const { Probe, results } = probe(({ post = 1, initial = 0, step = 1, reload }) => {
    const likes = useOptimistic({
      initial,
      channel: `post-${post}`,
      reduce: { liked: (_, { count }) => count * step },
      reload,
    });
    const like = () => likes.mutate((count) => count + 1, ({ mutation, fetch }) =>
      isOver || new Promise((resolve) => asked.push({ mutation, fetch, answer: resolve })));
    return { ...likes, like };
  });
  return { Probe, asked, last: () => results.at(-1) };
}

test("useOptimistic: shown at once, settled by the event, rolled back with the reason", async (t) => {
  const { server, show } = page(t);
  const { Probe, asked, last } = likes(t);
  show(h(Probe));
  await subscribed(server, "post-1");
  last().like();
  await until(() => last().state === 1 && last().pending.length === 1);
  server.socket.event("post-1", "liked", { count: 8 }, { mutation: asked[0].mutation, id: "1" });
  await until(() => last().state === 8 && !last().pending.length);
  last().like();
  await until(() => asked.length === 2 && last().state === 9);
  asked[1].answer(json({ error: "enough" }, 403));
  await until(() => last().error);
  assert.deepEqual([last().state, last().error.message, last().error.status], [8, "enough", 403]);
  const { mutate } = last();
  last().like();
  await until(() => last().error === null && last().state === 9);
  assert.equal(last().mutate, mutate, "the same over renders");
});

test("useOptimistic: inline rules are those that were rendered last, over one subscription", async (t) => {
  const { server, show, frames } = page(t);
  const { Probe, last } = likes(t);
  for (const step of [1, 2, 3]) show(h(Probe, { step, initial: step }));
  await subscribed(server, "post-1");
  server.socket.event("post-1", "liked", { count: 5 });
  await until(() => last().state === 15);
  assert.deepEqual(frames("pusher:subscribe"), ["post-1"]);
});

test("useOptimistic: `error` is of mutations alone; onError may come later, and hears all", async (t) => {
  const { server, show } = page(t);
  const warned = t.mock.method(console, "warn", () => {}).mock;
  const told = [];
  const { Probe, results } = probe(({ onError }) => useOptimistic({
    initial: 0,
    channel: "a",
    reduce: { liked: (_, { count }) => count.n },
    onError,
  }));
  show(h(Probe));
  await subscribed(server, "a");
  server.socket.event("a", "liked", {});
  await until(() => warned.callCount());
  assert.match(warned.calls[0].arguments[0], /^realtime: liked: /);
  show(h(Probe, { onError: ({ code }) => told.push(code) }));
  await settle();
  server.socket.event("a", "liked", {});
  await until(() => told.length);
  results.at(-1).mutate((count) => count + 1, () => Promise.reject(new Error("full")));
  await until(() => results.at(-1).error?.message === "full");
  assert.deepEqual([told, warned.callCount()], [["reduce_failed", "refused"], 1]);
  assert.deepEqual(results.filter(({ error }) => error?.code === "reduce_failed"), []);
});

test("useOptimistic: another channel begins with its own state; the former's mutations are still sent", async (t) => {
  const { server, show } = page(t);
  const { Probe, asked, last } = likes(t);
  show(h(Probe, { post: 1, initial: 10 }));
  await subscribed(server, "post-1");
  last().like();
  last().like();
  await until(() => last().state === 12);
  show(h(Probe, { post: 2, initial: 20 }));
  await until(() => last().state === 20);
  assert.deepEqual(last().pending, []);
  asked[0].answer({});
  await until(() => asked.length === 2);
});

test("useOptimistic: fetched anew once subscribed, through the client", async (t) => {
  const { server, show } = page(t);
  const { Probe, last } = likes(t);
  const requests = [];
  const reload = async ({ fetch, signal }) => {
    requests.push(typeof fetch, signal.aborted);
    return { state: 33 };
  };
  show(h(Probe, { reload }));
  await subscribed(server, "post-1");
  await until(() => last().state === 33);
  assert.deepEqual(requests.slice(0, 2), ["function", false]);
});

// --- endings ---

/** Counts what is on: handlers of client and channels, listeners of the page, timers, requests. */
function meter(t, makeClient) {
  const on = { handlers: 0, listeners: 0, timers: new Set() };
  const countHandlers = (emitter) => {
    const { on: add } = emitter;
    emitter.on = (...of) => {
      const off = add.call(emitter, ...of);
      let isOn = true;
      on.handlers += 1;
      return () => {
        if (isOn) on.handlers -= 1;
        isOn = false;
        off();
      };
    };
    return emitter;
  };
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  t.mock.method(globalThis, "setTimeout", (act, ...more) => {
    const timer = set((...of) => (on.timers.delete(timer), act(...of)), ...more);
    on.timers.add(timer);
    return timer;
  });
  t.mock.method(globalThis, "clearTimeout", (timer) => (on.timers.delete(timer), clear(timer)));
  const client = makeClient();
  const { subscribe } = client;
  const counted = new WeakSet();
  client.subscribe = (...of) => {
    const channel = subscribe.call(client, ...of);
    if (!counted.has(channel)) {
      counted.add(channel);
      countHandlers(channel);
      if (channel.members) countHandlers(channel.members);
    }
    return channel;
  };
  countHandlers(client);
  for (const target of [globalThis, document]) {
    const { addEventListener: add, removeEventListener: remove } = target;
    t.mock.method(target, "addEventListener", (...of) => ((on.listeners += 1), add.call(target, ...of)));
    t.mock.method(target, "removeEventListener", (...of) => ((on.listeners -= 1), remove.call(target, ...of)));
  }
  const measure = () => [on.handlers, on.listeners, on.timers.size, client.channels.size, FakeEventSource.open.length];
  return { client, measure };
}

test("a hundred mounts and unmounts leave nothing behind", async (t) => {
  FakeEventSource.all = [];
  globalThis.EventSource = FakeEventSource;
  t.after(() => delete globalThis.EventSource);
  const { server, show } = page(t);
  server.rosters["presence-room"] = { 1: {} };
  const { client, measure } = meter(t, () =>
    connect({ configUrl: CONFIG_URL, WebSocket: server.WebSocket, fetch: server.fetch }));
  t.after(() => client.close());
  await until(() => client.state === "connected");
  function Everything({ number }) {
    useConnectionState();
    useEvent(useChannel("news"), "published", () => {});
    useEvent("news", "published", () => {});
    useChannelState("news");
    usePresence("presence-room");
    const { on } = useSocket("private-chat");
    useEffect(() => void on("forgotten", () => {}), [on]);
    useEventSource("/events");
    usePolling({ fetcher: async () => number, interval: 10_000 });
    const { mutate } = useOptimistic({ initial: 0, channel: "news", reduce: { published: () => 1 } });
    useEffect(() => void mutate((count) => count, () => ({})), [mutate]);
    return null;
  }
  show(null, { client });
  await settle();
  const before = measure();
  for (let number = 0; number < 100; number += 1) {
    show(h(Everything, { number, key: number }), { client });
    if (number % 10 === 0) {
      const isOn = () => measure().every((now, at) => at === 2 || now > before[at]);
      await until(isOn, "the meter sees handlers, listeners, channels and streams");
    }
    if (number % 4 === 0) for (const source of FakeEventSource.open) source.fail(2); // to be opened anew
    if (number % 3 === 0) show(null, { client });
    if (number % 2 === 0) await settle();
  }
  show(null, { client });
  await until(() => client.channels.size === 0);
  await settle();
  assert.deepEqual(measure(), before);
});
