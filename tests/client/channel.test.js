import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeServer, json, until } from "./fake.js";
import { settle } from "./time.js";

async function subscribed(t, name, options) {
  const server = new FakeServer();
  const client = await server.connected(t, options);
  const channel = client.subscribe(name);
  await channel.ready();
  return { server, client, channel };
}

test("events reach the handlers of their channel and name, in order, with what is known of them", async (t) => {
  const { server, channel } = await subscribed(t, "orders");
  const heard = [];
  const off = channel.on("shipped", (data, meta) => heard.push([data, meta]));
  channel.on("*", (data, meta) => heard.push(meta.event));
  server.socket.event("orders", "shipped", { n: 1 });
  server.socket.event("orders", "shipped", { n: 2 }, { id: "e2", offset: 4, epoch: "x", mutation: "m" });
  server.socket.event("orders", "other", {});
  server.socket.event("elsewhere", "shipped", { n: 3 });
  off();
  server.socket.event("orders", "shipped", { n: 4 });
  const base = { event: "shipped", channel: "orders" };
  assert.deepEqual(heard, [
    [{ n: 1 }, base], "shipped",
    [{ n: 2 }, { ...base, id: "e2", offset: 4, epoch: "x", mutation: "m" }], "shipped",
    "other", "shipped",
  ]);
  assert.deepEqual(channel.position, "x:4");
});

test("a repeated id is delivered once, also across a reconnection", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { server, channel } = await subscribed(t, "a");
  const heard = [];
  channel.on("x", (data) => heard.push(data));
  server.socket.event("a", "x", 1, { id: "e1" });
  server.socket.event("a", "x", 1, { id: "e1" });
  server.socket.event("a", "x", { d: 2, _rk: { id: "e2" } });
  server.socket.drop();
  t.mock.timers.tick(2000);
  await channel.ready();
  server.socket.event("a", "x", 1, { id: "e1" });
  server.socket.event("a", "x", 3, { id: "e3" });
  assert.deepEqual(heard, [1, 2, 3]);
});

test("data is parsed once; what is no JSON is a string", async (t) => {
  const { server, channel } = await subscribed(t, "a");
  const heard = [];
  channel.on("x", (data) => heard.push(data));
  for (const data of ['"text"', "plain", '{"a":1}', "7", "null", { object: true }]) {
    server.socket.push({ event: "x", channel: "a", data });
  }
  server.socket.push({ event: "x", channel: "a" });
  assert.deepEqual(heard, ["text", "plain", { a: 1 }, 7, null, { object: true }, undefined]);
});

test("malformed frames are reported and hurt nobody", async (t) => {
  const { server, client, channel } = await subscribed(t, "private-a");
  const heard = [];
  channel.on("x", (data) => heard.push(data));
  client.subscribe("presence-a");
  const bad = ["{", "", "null", "7", "[]", "{}", '{"event":7}', '{"event":"pusher_internal:member_added","channel":"presence-a"}'];
  for (const frame of bad) server.socket.push(frame);
  server.socket.onmessage({ data: new Uint8Array([1, 2, 3]) });
  server.socket.event("private-a", "x", "still here");
  assert.equal(client.errors.length, bad.length + 1);
  assert.ok(client.errors.every(({ code, message }) => code === "server_error" && /malformed/.test(message)));
  assert.deepEqual(heard, ["still here"]);
  assert.equal(client.state, "connected");
});

test("a frame of API Gateway's own says that a function died over one of ours: back to start", async (t) => {
  const { server, client } = await subscribed(t, "a");
  server.socket.push({ message: "Internal server error", connectionId: "c", requestId: "r" });
  assert.notEqual(client.state, "connected");
  assert.equal(client.errors.length, 0);
});

test("a handler that throws breaks neither the others nor the connection", async (t) => {
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  t.after(() => delete globalThis.reportError);
  const { server, client, channel } = await subscribed(t, "a");
  const heard = [];
  channel.on("x", () => { throw new Error("mine"); });
  channel.on("x", (data) => heard.push(data));
  server.socket.event("a", "x", 1);
  server.socket.event("a", "x", 2);
  assert.deepEqual(heard, [1, 2]);
  assert.deepEqual(reported, ["mine", "mine"]);
  assert.equal(client.state, "connected");
});

test("subscribing twice is one subscription; unsubscribing ends it", async (t) => {
  const { server, client, channel } = await subscribed(t, "a");
  assert.equal(client.subscribe("a"), channel);
  assert.equal(client.channels.get("a"), channel);
  const heard = [];
  channel.on("x", (data) => heard.push(data));
  channel.unsubscribe();
  channel.unsubscribe();
  server.socket.event("a", "x", 1);
  await settle();
  assert.deepEqual(heard, []);
  assert.equal(channel.state, "unsubscribed");
  assert.equal(server.socket.sent("pusher:unsubscribe").length, 1);
  assert.equal(client.channels.size, 0);
  await assert.rejects(channel.ready(), { code: "unsubscribed", channel: "a" });

  const again = client.subscribe("a");
  assert.notEqual(again, channel);
  await again.ready();
  channel.unsubscribe();
  assert.equal(again.state, "subscribed", "the old object has no power over the new one");
});

test("unsubscribed while the connection is away: not subscribed again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { server, client, channel } = await subscribed(t, "a");
  server.socket.drop();
  channel.unsubscribe();
  t.mock.timers.tick(2000);
  await until(() => client.state === "connected");
  await settle();
  assert.deepEqual(server.socket.sent("pusher:subscribe"), []);
});

test("names that no channel can have are refused at once", async (t) => {
  const server = new FakeServer();
  const client = server.connect(t);
  for (const name of ["", "a b", "#server-to-user-1", "a/b", "ü", "x".repeat(165)]) {
    assert.throws(() => client.subscribe(name), { code: "invalid_channel", message: /is no channel name/ });
  }
  assert.equal(client.subscribe("x".repeat(164)).state, "subscribing");
});

test("whisper goes to the others, and comes from them with their id", async (t) => {
  const { server, channel } = await subscribed(t, "presence-a");
  assert.equal(channel.whisper("typing", { on: true }), true);
  assert.deepEqual(server.socket.sent("client-typing"), [
    { event: "client-typing", channel: "presence-a", data: { on: true } },
  ]);
  assert.equal(channel.whisper("nudge"), true);
  assert.equal(server.socket.sent("client-nudge")[0].data, null, "the protocol refuses one without data");
  const heard = [];
  channel.onWhisper("typing", (data, meta) => heard.push([data, meta.userId]));
  channel.on("client-typing", (data) => heard.push(data));
  server.socket.push({ event: "client-typing", channel: "presence-a", data: { on: false }, user_id: "7" });
  assert.deepEqual(heard, [[{ on: false }, "7"], { on: false }]);
});

test("a whisper cannot forge ids: it would make others drop the real event", async (t) => {
  const { server, channel } = await subscribed(t, "private-a");
  const heard = [];
  channel.on("*", (data, meta) => meta.event !== "pusher:subscription_succeeded" && heard.push([data, meta.id]));
  const forged = { a: 1, _rk: { id: "e1", o: 99, e: "x" } };
  server.socket.push({ event: "client-x", channel: "private-a", data: forged });
  server.socket.event("private-a", "real", { n: 1 }, { id: "e1" });
  assert.deepEqual(heard, [[forged, undefined], [{ n: 1 }, "e1"]]);
  assert.equal(channel.position, null);
});

test("a whisper that cannot go is false while it is a matter of time, an error where it never can", async (t) => {
  const server = new FakeServer();
  const client = server.connect(t, { decrypt: () => "{}" });
  assert.equal(client.subscribe("private-a").whisper("x", 1), false);
  for (const name of ["a", "cache-a", "private-encrypted-a"]) {
    assert.throws(() => client.subscribe(name).whisper("x", 1), { code: "whisper_unsupported", channel: name });
  }
  await client.subscribe("private-a").ready();
  server.socket.drop();
  assert.equal(client.subscribe("private-a").whisper("x", 1), false);
});

test("the protocol's own events are there for those who want them", async (t) => {
  const server = new FakeServer();
  const client = await server.connected(t);
  const channel = client.subscribe("cache-a");
  const heard = [];
  for (const name of ["pusher:subscription_succeeded", "pusher:cache_miss", "pusher:subscription_count"]) {
    channel.on(name, (data) => heard.push([name, data, channel.state]));
  }
  await channel.ready();
  server.socket.push({ event: "pusher:cache_miss", channel: "cache-a" });
  server.socket.event("cache-a", "pusher_internal:subscription_count", { subscription_count: 3 });
  assert.deepEqual(heard, [
    ["pusher:subscription_succeeded", {}, "subscribed"],
    ["pusher:cache_miss", undefined, "subscribed"],
    ["pusher:subscription_count", { subscription_count: 3 }, "subscribed"],
  ]);
});

test("errors that nobody listens to go to the console", async (t) => {
  const warned = t.mock.method(console, "warn", () => {});
  const server = new FakeServer();
  server.grant = () => ({ status: 403, error: "denied" });
  const { connect } = await import("../../realtime_kit/client/realtime.js");
  const client = connect({ configUrl: "http://app.test/realtime/config", WebSocket: server.WebSocket, fetch: server.fetch });
  t.after(() => client.close());
  client.subscribe("private-heard").onError(() => {});
  client.subscribe("private-unheard");
  await until(() => client.channels.get("private-unheard").state === "denied");
  assert.equal(warned.mock.callCount(), 1);
  assert.match(warned.mock.calls[0].arguments[0], /private-unheard: denied/);
});

// Encrypted channels

test("an encrypted channel without decrypt is refused with what to do, and not subscribed", async (t) => {
  const server = new FakeServer();
  const client = await server.connected(t);
  const channel = client.subscribe("private-encrypted-a");
  const heard = [];
  channel.onError((error) => heard.push(error));
  await until(() => heard.length);
  assert.equal(heard[0].code, "decrypt_required");
  assert.match(heard[0].message, /connect\(\{decrypt\}\)/);
  assert.equal(channel.state, "denied");
  assert.deepEqual(server.asked("auth"), []);
  assert.deepEqual(server.socket.received, []);
  const brief = client.subscribe("private-encrypted-b");
  brief.unsubscribe();
  await new Promise((resolve) => setTimeout(resolve, 1));
  assert.equal(brief.state, "unsubscribed");
});

test("decrypt receives box and secret, and its plaintext is the event's data", async (t) => {
  const server = new FakeServer();
  server.grant = (name) => ({ auth: `k:${name}`, shared_secret: "c2VjcmV0" });
  const sealed = [];
  const decrypt = (box) => (sealed.push(box), new TextEncoder().encode('{"plain":"té"}'));
  const client = await server.connected(t, { decrypt });
  const channel = client.subscribe("private-encrypted-a");
  const heard = [];
  channel.on("x", (data, meta) => heard.push([data, meta.id]));
  await channel.ready();
  server.socket.event("private-encrypted-a", "x", { nonce: "bm9uY2U=", ciphertext: "Ym94", _rk: { id: "e1" } });
  await until(() => heard.length);
  assert.deepEqual(sealed, [{ nonce: "bm9uY2U=", ciphertext: "Ym94", sharedSecret: "c2VjcmV0" }]);
  assert.deepEqual(heard, [[{ plain: "té" }, "e1"]]);
});

test("decryption that takes its time keeps the order; what does not open is an error of its own", async (t) => {
  const server = new FakeServer();
  const waiting = [];
  const client = await server.connected(t, {
    decrypt: ({ ciphertext }) => new Promise((resolve, reject) => waiting.push(() => (ciphertext === "bad" ? reject(new Error("no")) : resolve(ciphertext)))),
  });
  const channel = client.subscribe("private-encrypted-a");
  const heard = [];
  const failed = [];
  channel.on("x", (data) => heard.push(data));
  channel.onError((error) => failed.push(error));
  await channel.ready();
  for (const ciphertext of ["1", "bad", "3"]) server.socket.event("private-encrypted-a", "x", { nonce: "", ciphertext });
  server.socket.event("private-encrypted-a", "x", "not sealed at all");
  for (let n = 0; n < 4; n += 1) {
    await until(() => waiting.length);
    await settle();
    assert.equal(waiting.length, 1, "one at a time");
    waiting.shift()();
  }
  await until(() => failed.length === 2);
  assert.deepEqual(heard, [1, 3]);
  assert.ok(failed.every(({ code, channel }) => code === "decrypt_failed" && channel === "private-encrypted-a"));
  assert.equal(channel.state, "subscribed");
});

test("what is decrypted after the unsubscription is not delivered", async (t) => {
  const server = new FakeServer();
  let open;
  const client = await server.connected(t, { decrypt: () => new Promise((resolve) => (open = resolve)) });
  const channel = client.subscribe("private-encrypted-a");
  const heard = [];
  channel.on("x", (data) => heard.push(data));
  await channel.ready();
  server.socket.event("private-encrypted-a", "x", { nonce: "", ciphertext: "" });
  await until(() => open);
  channel.unsubscribe();
  open("1");
  await settle();
  assert.deepEqual(heard, []);
});
