import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, RealtimeError } from "../../realtime_kit/client/realtime.js";
import { CONFIG_URL, FakeServer, json, openPage, until } from "./fake.js";
import { pass, settle, stopTime } from "./time.js";

const MINUTE = 60_000;

/** A server under fake time; every draw of the back-off is half of its ceiling. */
function stage(t) {
  stopTime(t);
  return new FakeServer();
}

test("connecting, connected, closed; the socket id is there only while connected", async (t) => {
  const server = new FakeServer();
  const client = server.connect(t);
  assert.equal(client.state, "connecting");
  assert.equal(client.socketId, null);
  await until(() => client.state === "connected");
  assert.equal(client.socketId, "1.1");
  client.close();
  client.close();
  assert.deepEqual(client.states, [
    { state: "connected", previous: "connecting" },
    { state: "closed", previous: "connected" },
  ]);
  assert.equal(client.socketId, null);
  assert.equal(server.socket.closedWith, 1000);
  assert.throws(() => client.subscribe("a"), { code: "closed" });
});

test("the address is that of the Pusher protocol, and carries nothing but the public key", async (t) => {
  globalThis.location = { href: "http://page.test/", hostname: "page.test" };
  t.after(() => delete globalThis.location);
  for (const [socket, expected] of [
    [{ host: "ws.test", port: 6001, tls: false, path: "" }, "ws://ws.test:6001/app/k"],
    [{ host: "ws.test", port: null, path: null }, "wss://ws.test/app/k"],
    [{ host: "ws.test", path: "/stage" }, "wss://ws.test/stage/app/k"],
    [{ host: "ws.test", path: "a/stage/" }, "wss://ws.test/a/stage/app/k"],
    [{ host: "::1", port: 6001, tls: false }, "ws://[::1]:6001/app/k"],
    [{ cluster: "eu", host: null }, "wss://ws-eu.pusher.com/app/k"],
    [{ cluster: "eu", host: "ws.test" }, "wss://ws.test/app/k"],
    [{ cluster: null, host: null, port: 6001, tls: false }, "ws://page.test:6001/app/k"],
  ]) {
    const server = new FakeServer();
    server.config.client.socket = { key: "k", ...socket };
    await server.connected(t, { headers: () => ({ Authorization: "Bearer secret" }) });
    assert.equal(server.socket.url.href, `${expected}?protocol=7&client=realtime-kit&version=1`);
  }
});

test("a lost connection is tried again, later each time, until it holds", async (t) => {
  const server = stage(t);
  const client = await server.connected(t);
  server.onConnect = (socket) => socket.drop(1006);
  server.socket.drop(1006);
  await pass(t, 20_000);
  const waits = client.states.filter(({ state }) => state === "waiting").map(({ retryIn }) => retryIn);
  assert.deepEqual(waits.slice(0, 5), [600, 1100, 2100, 4100, 8100]);
  assert.equal(client.states[1].error.code, "connection_lost");
  assert.equal(client.states[1].error.serverCode, 1006);
  server.onConnect = (socket) => socket.establish();
  await pass(t, 20_000);
  assert.equal(client.state, "connected");
  server.socket.drop(1006);
  assert.equal(client.states.at(-1).retryIn, 600, "it had held, so the back-off began anew");
  assert.deepEqual(client.errors, [], "losses are states, not errors");
});

test("a connection that does not hold does not begin the back-off anew", async (t) => {
  const server = stage(t);
  const client = await server.connected(t);
  for (const wait of [600, 1100, 2100]) {
    server.socket.drop(1006);
    assert.equal(client.states.at(-1).retryIn, wait);
    await pass(t, wait);
    assert.equal(client.state, "connected");
  }
});

for (const code of [4000, 4001, 4009, 4099]) {
  test(`close code ${code} is for good`, async (t) => {
    const server = stage(t);
    const client = await server.connected(t);
    const channel = client.subscribe("a");
    const ready = assert.rejects(client.subscribe("b").ready(), { code: "refused" });
    server.socket.drop(code, "Not you");
    await ready;
    await pass(t, 5 * MINUTE);
    assert.equal(client.state, "failed");
    assert.equal(server.sockets.length, 1);
    assert.equal(client.errors.length, 1, "told once, whatever the number of channels");
    assert.equal(client.errors[0].code, "refused");
    assert.equal(client.errors[0].serverCode, code);
    assert.match(client.errors[0].message, /Not you/);
    assert.equal(channel.state, "denied");
    const late = client.subscribe("c");
    await pass(t, 100);
    assert.equal(late.state, "denied");
  });
}

for (const code of [4100, 4199]) {
  test(`close code ${code} backs off by at least a second`, async (t) => {
    const server = stage(t);
    t.mock.method(Math, "random", () => 0);
    const client = await server.connected(t);
    server.socket.drop(code);
    assert.equal(client.states.at(-1).retryIn, 1000);
  });
}

for (const code of [4200, 4201, 4299]) {
  test(`close code ${code} reconnects at once`, async (t) => {
    const server = stage(t);
    const client = await server.connected(t);
    await pass(t, 6000);
    server.socket.drop(code);
    assert.equal(client.states.at(-1).retryIn, 0);
    await pass(t, 1);
    assert.equal(client.state, "connected");
    assert.equal(server.sockets.length, 2);
  });
}

test("a server that always answers 4200 does not get a hot loop", async (t) => {
  const server = stage(t);
  t.mock.method(Math, "random", () => 0);
  const afterHandshake = (socket) => {
    socket.establish();
    setImmediate(() => socket.drop(4200));
  };
  const insteadOfHandshake = (socket) => socket.drop(4200);
  const asFirstFrame = (socket) => socket.push({ event: "pusher:error", data: { code: 4200, message: "again" } });
  for (const onConnect of [afterHandshake, insteadOfHandshake, asFirstFrame]) {
    server.onConnect = onConnect;
    server.sockets = [];
    const client = server.connect(t);
    await pass(t, 500, 2);
    const { length } = server.sockets;
    assert.ok(length > 3 && length < 8, `${length} connections in 0.5 s, all draws being the smallest`);
    client.close();
  }
});

test("an error as the first frame means what the close code would", async (t) => {
  const server = stage(t);
  server.onConnect = (socket) =>
    socket.push({ event: "pusher:error", data: { code: 4001, message: "App key x not in this cluster" } });
  const client = server.connect(t);
  await pass(t, MINUTE);
  assert.equal(client.state, "failed");
  assert.equal(server.sockets.length, 1);
  assert.equal(server.socket.readyState, 3);
  assert.match(client.errors[0].message, /not in this cluster/);
});

test("where the host cannot close with a code, the error frame before the close has it", async (t) => {
  const server = stage(t);
  const client = await server.connected(t);
  server.socket.push({ event: "pusher:error", data: '{"code":4009,"message":"You got disconnected"}' });
  assert.equal(client.state, "connected");
  server.socket.drop(1001);
  assert.equal(client.state, "failed");
  assert.equal(client.errors.at(-1).serverCode, 4009);
});

test("an error frame says nothing about a close that comes long after it", async (t) => {
  const server = stage(t);
  const client = await server.connected(t);
  server.socket.push({ event: "pusher:error", data: { code: 4009, message: "sign-in refused" } });
  server.socket.push({ event: "pusher:pong", data: {} });
  server.socket.drop(1006);
  assert.equal(client.state, "waiting");
});

test("an error frame on a live connection is reported and ends nothing", async (t) => {
  const server = stage(t);
  const client = await server.connected(t);
  server.socket.push({ event: "pusher:error", data: { code: 4301, message: "too many whispers" } });
  server.socket.push({ event: "pusher:error", data: { code: null, message: "Received invalid JSON" } });
  await pass(t, 1000);
  assert.equal(client.state, "connected");
  assert.deepEqual(client.errors.map(({ code, serverCode }) => [code, serverCode]), [["server_error", 4301], ["server_error", null]]);
});

test("no handshake in 15 s is a lost connection", async (t) => {
  const server = stage(t);
  server.onConnect = () => {};
  const client = server.connect(t);
  await pass(t, 14_900);
  assert.equal(client.state, "connecting");
  await pass(t, 200);
  assert.equal(client.state, "waiting");
  assert.equal(server.socket.readyState, 3);
});

test("a handshake without a socket id is a lost connection", async (t) => {
  const server = stage(t);
  server.onConnect = (socket) => socket.establish({ activity_timeout: 120 });
  const client = server.connect(t);
  await until(() => client.state === "waiting");
  assert.match(client.states.at(-1).error.message, /socket id/);
});

test("heartbeat: a ping after silence, any frame counts, no answer in 30 s is a loss", async (t) => {
  const server = stage(t);
  server.onConnect = (socket) => socket.establish({ socket_id: "1.1", activity_timeout: 20 });
  const client = await server.connected(t);
  await pass(t, 19_900);
  assert.equal(server.socket.sent("pusher:ping").length, 0);
  server.socket.event("a", "anything", {});
  await pass(t, 19_900);
  assert.equal(server.socket.sent("pusher:ping").length, 0);
  await pass(t, 200);
  assert.equal(server.socket.sent("pusher:ping").length, 1);
  await pass(t, 40_000);
  assert.equal(client.state, "connected", "the pong came");
  server.onFrame = () => {};
  await pass(t, 20_000 + 29_000);
  assert.equal(client.state, "connected");
  const [socket] = server.sockets;
  await pass(t, 1200);
  assert.equal(socket.closedWith, 1000);
  assert.equal(server.sockets.length, 2, "at once");
});

test("the config can shorten the silence, not lengthen it", async (t) => {
  for (const [ours, theirs, expected] of [[5, 20, 5], [40, 20, 20]]) {
    const server = new FakeServer();
    t.mock.timers.reset();
    t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
    server.config.client.socket.activityTimeout = ours;
    server.onConnect = (socket) => socket.establish({ socket_id: "1.1", activity_timeout: theirs });
    await server.connected(t);
    await pass(t, expected * 1000 - 100);
    assert.equal(server.socket.sent("pusher:ping").length, 0);
    await pass(t, 200);
    assert.equal(server.socket.sent("pusher:ping").length, 1);
  }
});

test("a ping of the server is answered", async (t) => {
  const server = new FakeServer();
  await server.connected(t);
  server.socket.push({ event: "pusher:ping", data: {} });
  assert.equal(server.socket.sent("pusher:pong").length, 1);
});

// Config and transports

test("the config is asked with the app's headers, kept over a reconnection, and its failures retried", async (t) => {
  const server = stage(t);
  const faults = [() => { throw new TypeError("fetch failed"); }, () => json({}, 503, { "Retry-After": "7" })];
  server.onConfig = () => (faults.shift() ?? (() => json(server.config)))();
  const client = server.connect(t, { headers: async () => ({ Authorization: "Bearer t" }) });
  await pass(t, 1000);
  await pass(t, 7000);
  await until(() => client.state === "waiting");
  const [first, second] = client.states.filter(({ state }) => state === "waiting");
  assert.match(first.error.message, /fetch failed/);
  assert.equal(second.error.code, "request_failed");
  assert.equal(second.error.status, 503);
  assert.equal(second.retryIn, 7000 + 1000, "Retry-After is the floor");
  await pass(t, 1100);
  assert.equal(client.state, "connected");
  server.socket.drop();
  await pass(t, 10_000);
  assert.equal(client.state, "connected");
  assert.equal(server.asked("config").length, 3);
  assert.ok(server.requests.every(({ headers }) => headers.get("Authorization") === "Bearer t"));
});

test("a config that will not come is an end, with its reason", async (t) => {
  for (const [answer, code] of [
    [() => json({}, 404), "bad_answer"],
    [() => json({}, 403), "denied"],
    [() => json({}, 401), "unauthorized"],
    [() => new Response("<html>"), "bad_answer"],
    [() => json({ provider: "local" }), "bad_answer"],
    [() => json(null), "bad_answer"],
    [() => json({ transports: [], client: {} }), "no_transport"],
    [() => json({ transports: ["carrier-pigeon"], client: {} }), "no_transport"],
  ]) {
    const server = new FakeServer();
    server.onConfig = answer;
    const client = server.connect(t);
    await until(() => client.state === "failed", code);
    assert.equal(client.errors[0].code, code);
    assert.ok(client.errors[0] instanceof RealtimeError);
    assert.equal(server.sockets.length, 0);
  }
});

test("where a connection cannot be had, the config is asked anew: the server may have moved", async (t) => {
  const server = stage(t);
  server.onConnect = (socket) => {
    if (socket.url.host === "new.test") socket.establish();
    else socket.drop();
  };
  const client = server.connect(t);
  await until(() => client.state === "waiting");
  server.config.client.socket.host = "new.test";
  server.config.client.socket.port = null;
  await pass(t, 1000);
  assert.equal(client.state, "connected");
});

test("without a WebSocket the message says what to do", async (t) => {
  const server = new FakeServer();
  const client = server.connect(t, { WebSocket: null });
  await until(() => client.state === "failed");
  assert.match(client.errors[0].message, /connect\(\{WebSocket\}\)/);
});

test("a socket that cannot even be made is tried again", async (t) => {
  const server = stage(t);
  const client = server.connect(t, { WebSocket: class { constructor() { throw new SyntaxError("bad url"); } } });
  await until(() => client.state === "waiting");
  assert.match(client.states.at(-1).error.message, /bad url/);
});

/** A transport that opens at once; what it was opened and told is kept. */
function quietTransport(supported = true) {
  const opened = [];
  const open = (cfg, hooks) => {
    const told = [];
    opened.push({ cfg, hooks, told });
    setImmediate(() => hooks.state("open", { socketId: null }));
    const check = () => told.push("check");
    return { subscribe: (...args) => told.push(args), unsubscribe() {}, publish: null, check, close() {} };
  };
  return { opened, load: async () => ({ supported: () => supported, open }) };
}

test("transports fall back in the order of the config after two failed attempts, and come back to the best", async (t) => {
  const server = stage(t);
  server.config.transports = ["pigeon", "socket", "sse"];
  server.onConnect = (socket) => socket.drop();
  const sse = quietTransport();
  const client = server.connect(t, { transports: { sse: sse.load } });
  await pass(t, 5000);
  assert.equal(client.state, "connected");
  assert.equal(server.sockets.length, 2, "pigeon is unknown here, socket has had its two tries");
  assert.equal(sse.opened[0].cfg.base.href, CONFIG_URL);
  const channel = client.subscribe("a");
  assert.deepEqual(sse.opened[0].told, [["a", null, null]]);
  sse.opened[0].hooks.event("a", "pusher:subscription_succeeded", {});
  assert.equal(channel.state, "subscribed");
  assert.equal(channel.whisper.call(client.subscribe("private-b"), "x"), false, "it cannot publish");
  sse.opened[0].hooks.position("a", "e:9");
  sse.opened[0].hooks.state("lost", { error: new RealtimeError("connection_lost", "gone") });
  await pass(t, 5000);
  assert.equal(client.state, "connected");
  assert.equal(sse.opened.length, 2, "what worked last is tried first");
  assert.deepEqual(sse.opened[1].told[0], ["a", null, "e:9"]);
  server.onConnect = (socket) => socket.establish();
  await pass(t, 30_000);
  assert.equal(client.state, "connected");
  assert.equal(client.socketId, server.socket.socketId, "the best one again");
  assert.equal(sse.opened.length, 2);
  assert.equal(channel.position, "e:9");
});

test("a transport that cannot work here is passed over at once", async (t) => {
  const server = new FakeServer();
  server.config.transports = ["ably", "sse"];
  const [ably, sse] = [quietTransport(false), quietTransport()];
  await server.connected(t, { transports: { ably: ably.load, sse: sse.load } });
  assert.equal(ably.opened.length, 0);
  assert.equal(sse.opened.length, 1);
});

test("a transport that resumes by itself: the same session, signed in as before", async (t) => {
  const { fire } = openPage(t);
  const server = stage(t);
  Object.assign(server.config, { transports: ["own"], userAuth: "/realtime/user-auth" });
  const own = quietTransport();
  const load = async () => {
    const transport = await own.load();
    const open = (...args) => ({ ...transport.open(...args), authorizes: true, signIn: () => {} });
    return { ...transport, open };
  };
  const client = server.connect(t, { transports: { own: load } });
  await until(() => client.state === "connected");
  const channel = client.subscribe("private-a");
  const [{ hooks, told }] = own.opened;
  assert.deepEqual(told, [["private-a", null, null]], "it asks for the proof itself");
  assert.deepEqual(hooks.wanted().map(({ name, position }) => [name, position]), [["private-a", null]]);
  hooks.event("private-a", "pusher:subscription_succeeded", {});
  const error = new RealtimeError("connection_lost", "gone");
  hooks.state("paused", { error, retryIn: 700 });
  assert.deepEqual(client.states.at(-1), { state: "waiting", previous: "connected", error, retryIn: 700 });
  assert.equal(channel.state, "subscribing");
  assert.equal(client.socketId, null);
  fire("online");
  await pass(t, 60_000);
  assert.deepEqual([told.splice(1), own.opened.length], [["check"], 1], "nothing but it tries again");
  hooks.state("open", { socketId: "s2" });
  assert.deepEqual([client.state, client.socketId], ["connected", "s2"]);
  assert.deepEqual(told.splice(1), [["private-a", null, null]]);
  await settle();
  assert.equal(server.asked("user-auth").length, 1);
  assert.deepEqual(server.asked("auth"), []);
  hooks.state("lost", { error });
  await pass(t, 2000);
  assert.equal(own.opened.length, 2);
  assert.equal(hooks.wanted(), false, "the one that is given up has no say any more");
  assert.equal(server.asked("user-auth").length, 2);
});

test("a transport is told where to resume", async (t) => {
  const server = stage(t);
  server.config.transports = ["sse"];
  const sse = quietTransport();
  const client = server.connect(t, { transports: { sse: sse.load } });
  await until(() => client.state === "connected");
  client.subscribe("a");
  sse.opened[0].hooks.event("a", "x", {}, { id: "1", epoch: "e", offset: 4 });
  sse.opened[0].hooks.state("lost", { error: new RealtimeError("connection_lost", "gone") });
  await pass(t, 1000);
  assert.deepEqual(sse.opened[1].told, [["a", null, "e:4"]]);
  sse.opened[0].hooks.state("lost", { error: new RealtimeError("connection_lost", "late") });
  sse.opened[0].hooks.event("a", "x", {}, { id: "2", epoch: "e", offset: 99 });
  assert.equal(client.state, "connected", "the old connection has no say");
  assert.equal(client.channels.get("a").position, "e:4");
});

// The page

test("offline: the connection is probed, and its loss is told as what it is", async (t) => {
  const { fire, onLine } = openPage(t);
  const server = stage(t);
  const client = await server.connected(t);
  server.onFrame = () => {};
  onLine(false);
  fire("offline");
  assert.equal(server.socket.sent("pusher:ping").length, 1);
  server.onConnect = (socket) => socket.drop();
  await pass(t, 10_000);
  await until(() => client.state === "offline");
  await pass(t, 60_000);
  assert.equal(client.state, "offline");
  const before = server.sockets.length;
  assert.ok(before > 2, "it goes on trying: onLine can be wrong about a loopback or a VPN");
  server.onConnect = (socket) => socket.establish();
  onLine(true);
  await pass(t, 1000);
  fire("online");
  await pass(t, 200);
  assert.equal(client.state, "connected", "without waiting for the back-off");
  assert.equal(server.sockets.length, before + 1);
});

test("online and visible on a live connection only probe it", async (t) => {
  const { fire } = openPage(t);
  const server = new FakeServer();
  const client = await server.connected(t);
  fire("online");
  fire("visibilitychange");
  document.visibilityState = "hidden";
  fire("visibilitychange");
  fire("pageshow", { persisted: false });
  await settle();
  assert.equal(server.socket.sent("pusher:ping").length, 2);
  assert.equal(client.state, "connected");
});

test("a page that is put away lets go, and takes up again when it is back", async (t) => {
  const { fire } = openPage(t);
  const server = stage(t);
  const client = await server.connected(t);
  const channel = client.subscribe("a");
  await until(() => channel.state === "subscribed");
  fire("pagehide", { persisted: true });
  assert.equal(server.socket.closedWith, 1000);
  fire("pagehide", { persisted: true });
  assert.deepEqual(client.states.map(({ state }) => state), ["connected", "offline"]);
  await pass(t, 5 * MINUTE);
  assert.equal(server.sockets.length, 1);
  fire("pageshow", { persisted: true });
  await pass(t, 10);
  assert.equal(client.state, "connected");
  assert.equal(channel.state, "subscribed");
});

test("the page's events cannot be made into a hot loop either", async (t) => {
  const { fire } = openPage(t);
  const server = stage(t);
  server.onConnect = (socket) => socket.drop();
  server.connect(t);
  for (let n = 0; n < 100; n += 1) {
    fire("online");
    await pass(t, 50, 5);
  }
  assert.ok(server.sockets.length <= 7, `${server.sockets.length} in 5 s`);
});

// Clean endings

test("close leaves no timer, listener, request or socket behind, at whatever point it comes", async (t) => {
  const listeners = new Set();
  globalThis.addEventListener = (name, act) => listeners.add(act);
  globalThis.removeEventListener = (name, act) => listeners.delete(act);
  t.after(() => { delete globalThis.addEventListener; delete globalThis.removeEventListener; });
  const timers = new Set();
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  t.mock.method(globalThis, "setTimeout", (act, ...rest) => {
    const timer = set((...args) => (timers.delete(timer), act(...args)), ...rest);
    timers.add(timer);
    return timer;
  });
  t.mock.method(globalThis, "clearTimeout", (timer) => (timers.delete(timer), clear(timer)));

  const never = () => new Promise(() => {});
  const points = {
    "config under way": [{ onConfig: never }, (client) => client.state === "connecting"],
    "socket connecting": [{ onConnect() {} }, (client, server) => server.sockets.length === 1],
    connected: [{}, (client) => client.state === "connected"],
    "authorization under way": [{ onAuth: never }, (client, server) => server.asked("auth").length],
    "authorization to be retried": [{ onAuth: () => json({}, 500) }, (client) => client.errors.length],
    "sign-in under way": [{ onUserAuth: never }, (client, server) => server.asked("user-auth").length],
    "waiting to reconnect": [{ onConnect: (socket) => socket.drop() }, (client) => client.state === "waiting"],
    failed: [{ onConnect: (socket) => socket.drop(4001) }, (client) => client.state === "failed"],
  };
  for (const [point, [faults, reached]] of Object.entries(points)) {
    const server = Object.assign(new FakeServer(), faults);
    server.config.userAuth = "/realtime/user-auth";
    const client = server.connect(t);
    client.subscribe("private-a").onError(() => {});
    await until(() => reached(client, server), point);
    assert.equal(listeners.size, point === "failed" ? 0 : 5, point);
    client.close();
    const { length } = [...client.states, ...client.errors];
    await settle();
    assert.equal(client.state, "closed", point);
    assert.equal([...client.states, ...client.errors].length, length, `${point}: nothing is told afterwards`);
    assert.equal(timers.size, 0, `${point}: timers`);
    assert.equal(listeners.size, 0, `${point}: listeners`);
    assert.ok(server.sockets.every(({ readyState }) => readyState === 3), `${point}: sockets`);
    assert.equal(client.channels.size, 0, point);
  }
});

test("closed while the transport loads: it is not opened", async (t) => {
  const server = new FakeServer();
  const sse = quietTransport();
  let loaded;
  server.config.transports = ["sse"];
  const client = server.connect(t, { transports: { sse: () => new Promise((resolve) => (loaded = resolve)) } });
  await until(() => loaded);
  client.close();
  loaded(await sse.load());
  await settle();
  assert.equal(sse.opened.length, 0);
});

test("closing from within a state handler is fine", async (t) => {
  const server = stage(t);
  const client = server.connect(t);
  client.on("state", (state) => state === "waiting" && client.close());
  server.onConnect = (socket) => socket.drop();
  await pass(t, MINUTE);
  assert.equal(client.state, "closed");
  assert.equal(server.sockets.length, 1);
});

test("outside of a page the config's address must be absolute", () => {
  assert.throws(() => connect(), { code: "ERR_INVALID_URL", input: "/realtime/config" });
});
