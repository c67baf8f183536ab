// The transports that read the application's log: sse and poll.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parser } from "../../realtime_kit/client/transports/event-stream.js";
import "../../realtime_kit/client/transports/poll.js";
import "../../realtime_kit/client/transports/sse-native.js";
import "../../realtime_kit/client/transports/sse.js";
import { json, openPage, until } from "./fake.js";
import { FakeStream, serverWith, streamingServer } from "./fakelog.js";
import { pass, settle, stopTime } from "./time.js";

const MINUTE = 60_000;

function stage(t, server) {
  stopTime(t);
  return server;
}

async function connected(t, server, names = ["news"], options = {}) {
  const client = server.connect(t, options);
  const heard = [];
  const gaps = [];
  client.onGap((gap) => gaps.push(gap));
  const channels = names.map((name) => {
    const channel = client.subscribe(name);
    channel.on("x", (data, { id, offset }) => heard.push([name, data, offset, typeof id]));
    channel.onError(() => {});
    return channel;
  });
  await pass(t, 100, 10);
  return { client, channels, heard, gaps };
}

const datas = (heard) => heard.map(([, data]) => data);
const times = (server) => server.times;

/** Notes when the application is asked for events. */
function watch(server) {
  server.times = [];
  const { onEvents } = server;
  server.onEvents = (...args) => {
    server.times.push(Date.now());
    return onEvents(...args);
  };
  return server;
}

// The stream's format

const PIECES = [
  ["id: 1\ndata: a\n\n", [{ id: "1", data: "a" }]],
  ["id: 1\r\ndata: a\r\n\r\n", [{ id: "1", data: "a" }]],
  ["id: 1\rdata: a\r\rx", [{ id: "1", data: "a" }]],
  ["data: a\ndata:b\ndata:  c\n\n", [{ data: "a\nb\n c" }]],
  ["data\n\ndata:\n\n", [{ data: "" }, { data: "" }]],
  [": ping\n\nevent: realtime:end\ndata: {}\n\n", [{}, { event: "realtime:end", data: "{}" }]],
  ["retry: 12\n\nretry: x\n\nid: a\0b\n\nunknown: 1\n\n", [{ retry: 12 }, {}, {}, {}]],
  ["id\ndata: ü🎉:x\n\ndata: unfinished", [{ id: "", data: "ü🎉:x" }]],
];

test("an event stream is understood however it is cut", () => {
  for (const [text, expected] of PIECES) {
    for (let size = 1; size <= text.length; size += 1) {
      const found = [];
      const parse = parser((block) => found.push(block));
      for (let at = 0; at < text.length; at += size) parse(text.slice(at, at + size));
      const wanted = found.filter((block) => JSON.stringify(block) !== "{}");
      assert.deepEqual(wanted, expected.filter((block) => JSON.stringify(block) !== "{}"), JSON.stringify([text, size]));
    }
  }
});

// sse

test("sse: one stream for all channels; events, their positions, and no whispers", async (t) => {
  const server = stage(t, streamingServer("a", "private-b"));
  const { client, channels: [a, b], heard } = await connected(t, server, ["a", "private-b"]);
  assert.deepEqual([client.state, a.state, b.state, server.streams.length], ["connected", "subscribed", "subscribed", 1]);
  assert.match(client.socketId, /^\d+\.\d+$/);
  assert.equal(server.asked("auth").length, 0, "the stream itself is authorized");
  await Promise.all([a.ready(), b.ready()]);
  const [{ request }] = server.streams;
  assert.deepEqual(request.query.getAll("channel"), ["a", "private-b"]);
  assert.equal(request.headers.get("X-Socket-ID"), client.socketId);
  const one = server.log.append("a", "x", { n: 1 });
  server.streams[0].event(`e1:1,@1700000000000:0`, { channel: "a", ...one });
  server.streams[0].write("id: e1:3,e2:1\n\n");
  await settle();
  assert.deepEqual(heard, [["a", { n: 1 }, 1, "string"]]);
  assert.deepEqual([a.position, b.position], ["e1:3", "e2:1"]);
  assert.equal(b.whisper("typing"), false);
});

test("sse: a stream that ends is opened again where it was, and the state stays; a broken one is a loss", async (t) => {
  const server = stage(t, streamingServer("a", "b"));
  const { client, channels: [a], heard } = await connected(t, server, ["a", "b"]);
  server.streams[0].write("id: e1:7,e2:9\n\nevent: realtime:end\ndata: {}\n\n").end();
  await pass(t, 900);
  assert.equal(server.streams.length, 1);
  await pass(t, 200);
  assert.equal(server.streams[1].request.headers.get("Last-Event-ID"), "e1:7,e2:9");
  assert.deepEqual(client.states.map(({ state }) => state), ["connected"]);
  server.streams[1].fail();
  await settle();
  assert.equal(client.state, "waiting");
  assert.equal(a.state, "subscribing");
  await pass(t, 2000);
  assert.deepEqual([client.state, a.state], ["connected", "subscribed"]);
  assert.equal(server.streams[2].request.headers.get("Last-Event-ID"), "e1:7,e2:9");
  server.streams[2].event("e1:8,e2:9", { channel: "a", name: "x", data: 8, id: "i8", epoch: "e1", offset: 8 });
  server.streams[2].event("e1:8,e2:9", { channel: "a", name: "x", data: 8, id: "i8", epoch: "e1", offset: 8 });
  await settle();
  assert.deepEqual(datas(heard), [8]);
});

test("sse: channels come and go: one stream anew for what comes in one go", async (t) => {
  const server = stage(t, streamingServer("a", "b", "c"));
  const { client, channels: [a] } = await connected(t, server, ["a"]);
  server.streams[0].write("id: e1:4\n\n");
  await settle();
  const [b, c] = ["b", "c"].map((name) => client.subscribe(name));
  await pass(t, 100, 10);
  assert.equal(server.streams.length, 2);
  assert.equal(server.streams[0].ended, true);
  assert.deepEqual(server.streams[1].request.query.getAll("channel"), ["a", "b", "c"]);
  assert.equal(server.streams[1].request.headers.get("Last-Event-ID"), "e1:4,,");
  assert.deepEqual([b.state, c.state], ["subscribed", "subscribed"]);
  a.unsubscribe();
  await pass(t, 100, 10);
  assert.deepEqual(server.streams[2].request.query.getAll("channel"), ["b", "c"]);
  for (const channel of [b, c]) channel.unsubscribe();
  await pass(t, 100, 10);
  assert.equal(server.streams[2].ended, true);
  assert.equal(server.streams.length, 3);
  assert.equal(client.state, "connected");
});

for (const transport of ["sse", "poll"]) {
  test(`${transport}: who is denied, and what keeps no history, is told; the others go on`, async (t) => {
    const server = stage(t, streamingServer("a", "private-no"));
    server.log.denied.add("private-no");
    const names = ["none", "private-no", "a"];
    const { client, channels: [none, no, a] } = await connected(t, server, names, { order: [transport] });
    assert.deepEqual([none.state, none.error.code, none.error.status], ["denied", "no_history", 409]);
    assert.deepEqual([no.state, no.error.code, no.error.status], ["denied", "denied", 403]);
    assert.deepEqual([client.state, a.state], ["connected", "subscribed"]);
    server.log.denied.clear();
    client.subscribe("private-no");
    await pass(t, 100, 10);
    assert.equal(no.state, "subscribed");
  });

  test(`${transport}: a position that is too old is a gap, and then it goes on`, async (t) => {
    const server = stage(t, streamingServer("a"));
    for (const n of [1, 2, 3]) server.log.append("a", "x", n);
    server.log.trim("a", 1);
    const { onStream } = server;
    server.onStream = (...args) => {
      const response = onStream(...args);
      server.streams.at(-1).write('event: realtime:gap\ndata: {"channel":"a","position":"e1:3"}\n\nid: e1:3\n\n');
      return response;
    };
    const client = server.connect(t, { order: [transport] });
    const gaps = [];
    client.onGap((gap) => gaps.push(gap));
    const channel = client.subscribe("a", { position: "e1:1" });
    await pass(t, 100, 10);
    assert.deepEqual(gaps, [{ channel: "a", position: "e1:3" }]);
    assert.equal(channel.position, "e1:3");
  });

  test(`${transport}: members are not known, and none are made up; those of before stay`, async (t) => {
    const server = stage(t, streamingServer("presence-a"));
    const first = await connected(t, server, ["presence-a"], { order: [transport] });
    const [alone] = first.channels;
    assert.deepEqual([alone.state, alone.members.count, alone.members.me], ["subscribed", 0, null]);
    server.rosters["presence-a"] = { 1: {}, 2: {} };
    const { client, channels: [room] } = await connected(t, server, ["presence-a"], { order: ["socket", transport] });
    assert.deepEqual([client.socketId, room.members.count], ["1.1", 2]);
    const left = [];
    room.members.on("left", ({ id }) => left.push(id));
    server.onConnect = (socket) => socket.drop();
    server.socket.drop();
    await pass(t, 6000);
    assert.deepEqual([client.state, room.members.count, left], ["connected", 2, []]);
    server.onConnect = (socket) => socket.establish();
    delete server.rosters["presence-a"][2];
    await pass(t, 30_000, 500);
    assert.deepEqual([room.members.count, left], [1, ["2"]]);
  });

  test(`${transport}: encrypted channels fetch their key; without decrypt they are denied`, async (t) => {
    const server = stage(t, streamingServer("private-encrypted-a"));
    server.grant = () => ({ auth: "k:s", shared_secret: "c2VjcmV0" });
    server.log.append("private-encrypted-a", "x", { nonce: "bg==", ciphertext: "Yw==" });
    const decrypt = ({ nonce, ciphertext, sharedSecret }) => JSON.stringify([nonce, ciphertext, sharedSecret]);
    const names = ["private-encrypted-a"];
    const order = [transport];
    const { client, heard, channels: [channel] } = await connected(t, server, names, { order, decrypt });
    const one = server.log.append("private-encrypted-a", "x", { nonce: "bg==", ciphertext: "Yw==" });
    server.streams[0]?.event("e1:2", { channel: "private-encrypted-a", ...one });
    await pass(t, 4000);
    assert.deepEqual(datas(heard), [["bg==", "Yw==", "c2VjcmV0"]]);
    assert.equal(JSON.parse(server.asked("auth")[0].body).socket_id, client.socketId);
    assert.equal(channel.state, "subscribed");
    const without = await connected(t, server, names, { order });
    assert.equal(without.channels[0].error.code, "decrypt_required");
  });

  test(`${transport}: an application that is away is a loss, tried again as others are; 401 is for good`, async (t) => {
    const server = watch(stage(t, streamingServer("a")));
    const { client, channels: [a] } = await connected(t, server, ["a"], { order: [transport] });
    server.onEvents = () => json({}, 503, { "Retry-After": "9" });
    server.streams[0]?.fail();
    await pass(t, 8000);
    assert.equal(client.state, "waiting");
    const asked = server.asked("events").length;
    await pass(t, 1000);
    assert.equal(server.asked("events").length, asked);
    server.onEvents = () => json({}, 401);
    await pass(t, MINUTE, 500);
    assert.deepEqual([client.state, a.state, a.error.code], ["failed", "denied", "unauthorized"]);
  });

  test(`${transport}: no channel, no request; 100 channels at most`, async (t) => {
    const names = Array.from({ length: 101 }, (_, n) => `c${n}`);
    const server = stage(t, streamingServer(...names));
    const client = server.connect(t, { order: [transport] });
    await pass(t, 100, 10);
    assert.deepEqual([client.state, server.asked("events").length], ["connected", 0]);
    const channels = names.map((name) => client.subscribe(name));
    channels.at(-1).onError(() => {});
    await pass(t, 100, 10);
    assert.equal(server.asked("events")[0].query.getAll("channel").length, 100);
    assert.ok(channels.slice(0, 100).every(({ state }) => state === "subscribed"));
    assert.deepEqual([channels[100].state, channels[100].error.status], ["denied", 413]);
  });

  test(`${transport}: close leaves nothing behind`, async (t) => {
    const server = stage(t, streamingServer("a"));
    const { client } = await connected(t, server, ["a"], { order: [transport] });
    client.close();
    await settle();
    const asked = server.asked("events").length;
    await pass(t, MINUTE, 1000);
    assert.equal(server.asked("events").length, asked);
    assert.ok(server.streams.every(({ ended }) => ended));
    assert.deepEqual(client.errors, []);
  });
}

test("sse: silence is a loss, and comments are none", async (t) => {
  const server = stage(t, streamingServer("a"));
  const { client } = await connected(t, server, ["a"]);
  for (let n = 0; n < 8; n += 1) {
    await pass(t, 15_000, 1000);
    server.streams[0].write(": ping\n\n");
    await settle();
  }
  assert.equal(server.streams.length, 1);
  await pass(t, 48_000, 500);
  assert.equal(client.states[1].state, "waiting");
  assert.match(client.states[1].error.message, /silent/);
  assert.equal(server.streams[0].ended, true);
  assert.equal(client.state, "connected");
});

test("sse: a proxy that holds the stream back is noticed, and poll has its turn", async (t) => {
  const server = stage(t, streamingServer("a"));
  server.onStream = (request, signal) => {
    server.streams.push(new FakeStream(request, signal)); // and not a byte
    return server.streams.at(-1).response;
  };
  const { client, channels: [a], heard } = await connected(t, server, ["a"]);
  await pass(t, 34_000, 500);
  assert.equal(server.streams.length, 2);
  assert.deepEqual([client.state, a.state], ["connected", "subscribed"]);
  server.log.append("a", "x", 1);
  await pass(t, 4000);
  assert.deepEqual(datas(heard), [1]);
});

test("sse: an answer that is no stream, or makes no sense, is no reason to give up", async (t) => {
  const server = stage(t, streamingServer("a"));
  const texts = ["<html>", "id: 1\ndata: {not json\n\n"];
  server.onStream = () => new Response(texts[0], { headers: { "Content-Type": texts.shift() === "<html>" ? "text/html" : "text/event-stream" } });
  const { client, channels: [a] } = await connected(t, server, ["a"]);
  await pass(t, 10_000);
  assert.deepEqual([client.state, a.state], ["connected", "subscribed"]);
});

test("sse: where the application answers at once, it is a poller; slower while nobody looks", async (t) => {
  const { show } = openPage(t);
  const server = watch(stage(t, streamingServer("a")));
  server.onStream = (request) => {
    const { names, places, sockets } = server.log.asked(request);
    const { events, position } = server.log.read(names[0], places[0], sockets);
    const text = events.map((event) => `id: ${event.epoch}:${event.offset}\ndata: ${JSON.stringify(event)}\n\n`).join("");
    const head = { headers: { "Content-Type": "text/event-stream" } };
    return new Response(`retry: 3000\n\nid: ${places[0] || position}\n\n${text}`, head);
  };
  const { heard, client } = await connected(t, server, ["a"]);
  for (const n of [1, 2]) {
    server.log.append("a", "x", n);
    await pass(t, 3100);
  }
  assert.deepEqual(datas(heard), [1, 2]);
  const gaps = times(server).slice(1).map((time, n) => time - times(server)[n]);
  assert.ok(gaps.every((gap) => gap >= 3000 && gap <= 3200), `${gaps}`);
  show("hidden");
  await pass(t, 3100);
  const before = times(server).length;
  await pass(t, 25_000, 500);
  assert.equal(times(server).length, before);
  server.log.append("a", "x", 3);
  show("visible");
  await settle();
  assert.deepEqual(datas(heard), [1, 2, 3], "at once");
  assert.deepEqual(client.states.map(({ state }) => state), ["connected"]);
});

// EventSource

class FakeEventSource extends EventTarget {
  static CLOSED = 2;
  static all = [];
  readyState = 0;

  constructor(url, { withCredentials }) {
    super();
    Object.assign(this, { url: new URL(url), withCredentials });
    FakeEventSource.all.push(this);
    queueMicrotask(() => {
      if (this.readyState) return;
      this.readyState = 1;
      this.onopen?.();
    });
  }

  send(type, data, lastEventId = "") {
    this.dispatchEvent(Object.assign(new Event(type), { data: JSON.stringify(data), lastEventId }));
  }

  fail(readyState) {
    this.readyState = readyState;
    this.onerror?.();
  }

  close() {
    this.readyState = 2;
  }
}

function withEventSource(t) {
  FakeEventSource.all = [];
  globalThis.EventSource = FakeEventSource;
  t.after(() => delete globalThis.EventSource);
  return FakeEventSource.all;
}

test("sse by EventSource: with cookies, from its position, gaps and endings as well", async (t) => {
  const sources = withEventSource(t);
  const server = stage(t, streamingServer("a", "b"));
  const options = { eventSource: true, credentials: "include" };
  const { client, heard, gaps, channels: [a, b] } = await connected(t, server, ["a", "b"], options);
  assert.deepEqual([client.state, a.state, server.streams.length], ["connected", "subscribed", 0]);
  const [{ url, withCredentials }] = sources;
  assert.deepEqual([url.searchParams.getAll("channel"), withCredentials], [["a", "b"], true]);
  assert.equal(url.searchParams.get("socket_id"), client.socketId);
  assert.equal(url.searchParams.get("ticket"), null);
  sources[0].send("message", { channel: "a", name: "x", data: 1, id: "i1", epoch: "e1", offset: 1 }, "e1:1,e2:5");
  assert.deepEqual([datas(heard), a.position, b.position], [[1], "e1:1", "e2:5"]);
  sources[0].send("realtime:gap", { channel: "b", position: "e2:9" });
  assert.deepEqual(gaps, [{ channel: "b", position: "e2:9" }]);
  sources[0].fail(0);
  assert.equal(sources.length, 1, "it comes back by itself");
  sources[0].send("realtime:end", {});
  await pass(t, 1100);
  assert.equal(sources[1].url.searchParams.get("position"), "e1:1,e2:9");
  sources[1].fail(2);
  server.log.denied.add("b");
  await pass(t, 1500);
  assert.deepEqual([a.state, b.state], ["subscribed", "denied"]);
  assert.deepEqual(sources[2].url.searchParams.getAll("channel"), ["a"]);
  client.close();
  assert.ok(sources.every(({ readyState }) => readyState === 2));
});

test("sse by EventSource: headers cannot be sent, so there is a ticket for each", async (t) => {
  const sources = withEventSource(t);
  const server = stage(t, streamingServer("a"));
  let tickets = 0;
  const { onEvents } = server;
  server.onEvents = (request) => {
    if (request.method !== "POST") return onEvents(request);
    assert.equal(request.headers.get("Authorization"), "Bearer secret");
    assert.deepEqual(JSON.parse(request.body), { channels: ["a"] });
    return json({ ticket: `t${(tickets += 1)}`, expires_in: 60 });
  };
  const headers = () => ({ Authorization: "Bearer secret" });
  const { channels: [a] } = await connected(t, server, ["a"], { eventSource: true, headers });
  assert.equal(sources[0].url.searchParams.get("ticket"), "t1");
  assert.ok(!sources[0].url.href.includes("secret"));
  assert.equal(a.state, "subscribed");
  sources[0].fail(0);
  await pass(t, 2500);
  assert.equal(sources[0].readyState, 2, "its ticket is over");
  assert.equal(sources[1].url.searchParams.get("ticket"), "t2");
});

// poll

test("poll: all channels in one request, one at a time; ETag and 304", async (t) => {
  const server = watch(stage(t, serverWith("a", "b")));
  const { client, heard, channels: [a, b] } = await connected(t, server, ["a", "b"], { order: ["poll"] });
  assert.deepEqual([client.state, a.state, b.state, times(server).length], ["connected", "subscribed", "subscribed", 2]);
  await pass(t, 4000);
  const [first, second] = server.asked("events");
  assert.equal(first.query.get("wait"), null, "so that ready() need not wait for an event");
  assert.equal(second.query.get("wait"), "25");
  assert.equal(second.headers.get("If-None-Match"), '"@1700000000000:0,@1700000000000:0"');
  server.log.append("a", "x", 1);
  server.log.append("b", "x", 2, { exclude: client.socketId });
  server.log.append("b", "x", 3);
  await pass(t, 4000);
  assert.deepEqual(heard, [["a", 1, 1, "string"], ["b", 3, 2, "string"]]);
  assert.deepEqual([a.position, b.position], ["e1:1", "e2:2"]);
  const gaps = times(server).slice(2).map((time, n) => time - times(server)[n + 1]);
  assert.ok(gaps.length > 1 && gaps.every((gap) => gap >= 3000 && gap <= 3800), `${gaps}`);
});

test("poll: pages are fetched at once", async (t) => {
  const server = stage(t, serverWith("a"));
  server.log.page = 10;
  const { heard } = await connected(t, server, ["a"], { order: ["poll"] });
  for (let n = 0; n < 35; n += 1) server.log.append("a", "x", n);
  await pass(t, 4000);
  assert.deepEqual(datas(heard), Array.from({ length: 35 }, (_, n) => n));
});

test("poll: where the application waits, the next question follows at once", async (t) => {
  const server = watch(stage(t, serverWith("a")));
  const { onEvents } = server;
  let inFlight = 0;
  server.onEvents = async (request, signal) => {
    assert.equal((inFlight += 1), 1, "never two at a time");
    const wait = Number(request.query.get("wait"));
    const { names, places } = server.log.asked(request);
    const isIdle = !server.log.refusal(names) && !server.log.read("a", places[0], []).events.length;
    if (wait && isIdle) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, wait * 1000);
        server.log.waiting.add(resolve);
        signal.addEventListener("abort", () => resolve(clearTimeout(timer)));
      });
      server.log.waiting.clear();
    }
    inFlight -= 1;
    return onEvents(request);
  };
  const { heard, client } = await connected(t, server, ["a"], { order: ["poll"] });
  await pass(t, 51_000, 500);
  for (const n of [1, 2, 3]) {
    server.log.append("a", "x", n);
    await pass(t, 10, 1);
    assert.equal(heard.length, n, "without waiting for an interval");
  }
  assert.ok(times(server).length < 8, `${times(server).length}`);
  client.subscribe("b").onError(() => {});
  await pass(t, 100, 10);
  assert.deepEqual(server.asked("events").at(-1).query.getAll("channel"), ["a"], "b keeps none; nothing else was disturbed");
});

test("poll: slower and without waiting while nobody looks; at once when somebody does, or is online again", async (t) => {
  const { show, fire } = openPage(t);
  const server = watch(stage(t, serverWith("a")));
  const { heard } = await connected(t, server, ["a"], { order: ["poll"] });
  show("hidden");
  await pass(t, 4000);
  const before = times(server).length;
  assert.equal(server.asked("events").at(-1).query.get("wait"), null);
  await pass(t, 29_000, 500);
  assert.equal(times(server).length, before);
  let n = 0;
  for (const look of [() => show("visible"), () => fire("focus"), () => fire("online")]) {
    server.log.append("a", "x", (n += 1));
    look();
    await settle();
    assert.equal(heard.length, n);
  }
});

// From one to another

test("socket, then sse, then poll, and back to what is better when that works again", async (t) => {
  const server = stage(t, streamingServer("a"));
  server.config.transports = ["socket", "sse", "poll"];
  const { client, heard, channels: [a] } = await connected(t, server, ["a"]);
  await a.ready();
  assert.equal(server.sockets.length, 1);
  server.trigger("a", 1);
  const { onStream } = server;
  server.onConnect = (socket) => socket.drop();
  server.onStream = () => json({}, 502);
  server.socket.drop();
  server.trigger("a", 2);
  await pass(t, 20_000);
  assert.deepEqual([client.state, a.state], ["connected", "subscribed"]);
  assert.deepEqual(datas(heard), [1, 2]);
  assert.equal(server.streams.length, 0, "it polls");

  server.onStream = onStream;
  server.trigger("a", 3);
  await pass(t, 30_000);
  assert.ok(server.streams.length >= 2, "tried beside, then taken");
  assert.equal(server.streams[0].ended, true);
  assert.equal(server.streams.at(-1).ended, false);
  assert.deepEqual(datas(heard), [1, 2, 3]);
  assert.equal(a.position, "e1:3");

  server.onConnect = (socket) => socket.establish();
  await pass(t, 40_000);
  assert.equal(server.socket.readyState, 1);
  assert.match(client.socketId, /^1\./);
  assert.equal(server.streams.at(-1).ended, true);
  server.trigger("a", 4);
  assert.deepEqual(datas(heard), [1, 2, 3, 4]);
  const better = client.states.filter(({ error }) => error?.message.includes("better"));
  assert.equal(better.length, 2);
  assert.deepEqual(better.map(({ retryIn }) => retryIn), [0, 0]);
});

test("a better transport that never comes back is asked less and less", async (t) => {
  const server = stage(t, streamingServer("a"));
  server.config.transports = ["socket", "sse"];
  server.onConnect = (socket) => socket.drop();
  const { client } = await connected(t, server, ["a"]);
  await pass(t, 5000);
  assert.equal(client.state, "connected");
  const before = server.sockets.length;
  for (let n = 0; n < 360; n += 1) {
    await pass(t, 10_000, 5000);
    server.streams.at(-1).write(": ping\n\n");
  }
  assert.equal(server.streams.length, 1);
  const tried = server.sockets.length - before;
  assert.ok(tried > 5 && tried < 16, `${tried} times in an hour`);
});

test("`order` says which transports are used, and in which order", async (t) => {
  const server = stage(t, streamingServer("a"));
  server.config.transports = ["socket", "sse", "poll"];
  await connected(t, server, ["a"], { order: ["poll", "sse"] });
  assert.deepEqual([server.sockets.length, server.streams.length, server.asked("events").length > 0], [0, 0, true]);
});
