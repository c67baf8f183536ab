import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeServer, json, until } from "./fake.js";
import { settle } from "./time.js";

const names = (count, prefix = "private-") => Array.from({ length: count }, (_, n) => `${prefix}${n}`);
const bodies = (server) => server.asked("auth").map(({ body }) => JSON.parse(body));

async function pass(t, ms) {
  t.mock.timers.tick(ms);
  await settle();
}

test("the private channels of one tick are asked for in one request, public ones not at all", async (t) => {
  const server = new FakeServer();
  const client = await server.connected(t);
  const all = ["private-a", "presence-b", "open", "private-cache-c"].map((name) => client.subscribe(name));
  await Promise.all(all.map((channel) => channel.ready()));
  const [request, ...more] = server.asked("auth");
  assert.equal(more.length, 0);
  assert.equal(request.method, "POST");
  assert.equal(request.headers.get("Content-Type"), "application/json");
  assert.deepEqual(JSON.parse(request.body), {
    socket_id: "1.1",
    channels: ["private-a", "presence-b", "private-cache-c"],
  });
  assert.deepEqual(server.socket.sent("pusher:subscribe").map(({ data }) => data), [
    { channel: "open" },
    { channel: "private-a", auth: "app-key:private-a" },
    { channel: "presence-b", auth: "app-key:presence-b", channel_data: '{"user_id":"1"}' },
    { channel: "private-cache-c", auth: "app-key:private-cache-c" },
  ]);
});

test("what was subscribed before the connection is asked for with it, in one request", async (t) => {
  const server = new FakeServer();
  const client = server.connect(t);
  const channels = names(40).map((name) => client.subscribe(name));
  await Promise.all(channels.map((channel) => channel.ready()));
  assert.deepEqual(bodies(server).map(({ channels }) => channels.length), [40]);
});

test("more than a hundred go in several requests", async (t) => {
  const server = new FakeServer();
  const client = await server.connected(t);
  const channels = names(250).map((name) => client.subscribe(name));
  await Promise.all(channels.map((channel) => channel.ready()));
  assert.deepEqual(bodies(server).map(({ channels }) => channels.length), [100, 100, 50]);
  assert.deepEqual(bodies(server).flatMap(({ channels }) => channels), names(250));
});

test("a reconnection asks for all again in one request, with the new socket id", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new FakeServer();
  const client = await server.connected(t);
  const channels = names(30).map((name) => client.subscribe(name));
  await until(() => channels.every(({ state }) => state === "subscribed"));
  server.socket.drop();
  assert.ok(channels.every(({ state }) => state === "subscribing"));
  await pass(t, 2000);
  await until(() => channels.every(({ state }) => state === "subscribed"));
  assert.deepEqual(bodies(server), [
    { socket_id: "1.1", channels: names(30) },
    { socket_id: "1.2", channels: names(30) },
  ]);
});

test("headers are asked for each request, and once more after a 401", async (t) => {
  const server = new FakeServer();
  let token = "old";
  const asked = [];
  server.onAuth = ({ channels }, { headers }) =>
    headers.get("Authorization") === "Bearer new"
      ? FakeServer.prototype.onAuth.call(server, { channels })
      : json({}, 401);
  const client = await server.connected(t, {
    headers: async ({ refresh }) => {
      asked.push(refresh);
      if (refresh) token = "new";
      return { Authorization: `Bearer ${token}` };
    },
  });
  await client.subscribe("private-a").ready();
  assert.deepEqual(asked, [false, false, true], "config, auth, auth again");
  await client.subscribe("private-b").ready();
  assert.deepEqual(asked, [false, false, true, false]);
  assert.deepEqual(client.errors, []);
});

test("a second 401 is the end of it, for each channel that was asked for", async (t) => {
  const server = new FakeServer();
  server.onAuth = () => json({}, 401);
  const client = await server.connected(t);
  const heard = [];
  for (const name of ["private-a", "private-b"]) {
    client.subscribe(name).onError((error) => heard.push([name, error.code, error.status]));
  }
  await until(() => heard.length === 2);
  await settle();
  assert.deepEqual(heard, [["private-a", "unauthorized", 401], ["private-b", "unauthorized", 401]]);
  assert.equal(server.asked("auth").length, 2);
  assert.equal(client.errors.length, 1, "one failure is one error of the client");
});

test("a denied channel says so; the others of the request are subscribed", async (t) => {
  const server = new FakeServer();
  server.grant = (name) => (name === "private-no" ? { status: 403, error: "denied" } : { auth: `k:${name}` });
  const client = await server.connected(t);
  const [no, yes] = ["private-no", "private-yes"].map((name) => client.subscribe(name));
  const heard = [];
  no.onError((error) => heard.push(error));
  await yes.ready();
  await assert.rejects(no.ready(), { code: "denied", status: 403, channel: "private-no" });
  assert.equal(no.state, "denied");
  assert.equal(no.error, heard[0]);
  assert.deepEqual(client.errors, heard);
  assert.equal(server.socket.subscribed.has("private-no"), false);

  server.grant = (name) => ({ auth: `k:${name}` });
  const messages = [];
  no.on("news", (data) => messages.push(data));
  assert.equal(client.subscribe("private-no"), no, "asking again keeps the handlers");
  assert.equal(no.error, null);
  await no.ready();
  server.socket.event("private-no", "news", 1);
  assert.deepEqual(messages, [1]);
});

test("while one develops, the message says which rule denied", async (t) => {
  const server = new FakeServer();
  server.grant = () => ({ status: 403, error: "denied", explain: "no rule matches private-a" });
  const client = await server.connected(t);
  await assert.rejects(client.subscribe("private-a").ready(), { code: "denied", message: "private-a: no rule matches private-a" });
});

test("a channel that was denied is not asked for again by a reconnection; one that was granted may be denied", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new FakeServer();
  server.grant = (name) => (name === "private-no" ? { status: 403, error: "denied" } : { auth: `k:${name}` });
  const client = await server.connected(t);
  const [no, yes] = ["private-no", "private-yes"].map((name) => client.subscribe(name));
  await until(() => yes.state === "subscribed");
  server.grant = () => ({ status: 403, error: "denied" });
  server.socket.drop();
  await pass(t, 2000);
  await until(() => yes.state === "denied");
  assert.deepEqual(bodies(server).at(-1).channels, ["private-yes"]);
  assert.equal(no.state, "denied");
});

test("answers that make no sense", async (t) => {
  for (const [answer, code] of [
    [() => json({ channels: {} }), "bad_answer"],
    [() => json({}), "bad_answer"],
    [() => json({ channels: { "private-a": { status: 422, error: "?" } } }), "bad_answer"],
    [() => json({ channels: { "private-a": { status: 401, error: "who?" } } }), "unauthorized"],
    [() => json(null), "bad_answer"],
    [() => new Response("<html>"), "bad_answer"],
    [() => json({}, 400), "bad_answer"],
    [() => json({}, 404), "bad_answer"],
    [() => json({}, 403), "denied"],
    [() => new Response("", { status: 302, headers: { Location: "/login" } }), "unauthorized"],
  ]) {
    const server = new FakeServer();
    server.onAuth = answer;
    const client = await server.connected(t);
    await assert.rejects(client.subscribe("private-a").ready(), { code }, String(answer));
  }
});

test("what fails for the moment is told, and asked again with growing waits while the connection lasts", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.mock.method(Math, "random", () => 0.5);
  const server = new FakeServer();
  const faults = [
    () => { throw new TypeError("fetch failed"); },
    () => json({}, 500),
    () => json({}, 429, { "Retry-After": "9" }),
  ];
  server.onAuth = (asked) => (faults.shift() ?? (() => FakeServer.prototype.onAuth.call(server, asked)))();
  const client = await server.connected(t);
  const channel = client.subscribe("private-a");
  for (const wait of [600, 1100, 9000 + 2000]) {
    await settle();
    const { length } = server.asked("auth");
    await pass(t, wait - 1);
    assert.equal(server.asked("auth").length, length, `not before ${wait} ms`);
    assert.equal(channel.state, "subscribing");
    await pass(t, 1);
    assert.equal(server.asked("auth").length, length + 1);
  }
  assert.equal(channel.state, "subscribed");
  assert.deepEqual(client.errors.map(({ code, status }) => [code, status]), [
    ["request_failed", undefined], ["request_failed", 500], ["request_failed", 429],
  ]);
});

test("headers that throw are a failure for the moment", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const server = new FakeServer();
  let fails = false;
  const client = await server.connected(t, { headers: () => { if (fails) throw new Error("no token yet"); return {}; } });
  fails = true;
  const channel = client.subscribe("private-a");
  await until(() => client.errors.length);
  assert.match(client.errors[0].message, /no token yet/);
  fails = false;
  await pass(t, 2000);
  assert.equal(channel.state, "subscribed");
});

test("an application that does not answer is given up after 15 s, and asked again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const server = new FakeServer();
  server.onAuth = () => new Promise(() => {});
  const client = await server.connected(t);
  client.subscribe("private-a");
  await settle();
  await pass(t, 14_999);
  assert.deepEqual(client.errors, []);
  await pass(t, 1);
  assert.match(client.errors[0].message, /in time/);
  await pass(t, 2000);
  assert.equal(server.asked("auth").length, 2);
});

test("an answer for a connection that is gone is not used on the next", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new FakeServer();
  const held = [];
  server.onAuth = (asked) => new Promise((resolve) => held.push(() => resolve(FakeServer.prototype.onAuth.call(server, asked))));
  const client = await server.connected(t);
  client.subscribe("private-a");
  await until(() => held.length === 1);
  server.socket.drop();
  await pass(t, 2000);
  await until(() => held.length === 2);
  held[0]();
  await settle();
  assert.deepEqual(server.socket.sent("pusher:subscribe"), []);
  held[1]();
  await client.channels.get("private-a").ready();
  assert.equal(bodies(server)[1].socket_id, "1.2");
});

test("slow authorization: unsubscribed meanwhile is not subscribed, and subscribed again is asked once", async (t) => {
  const server = new FakeServer();
  const held = [];
  server.onAuth = (asked) => new Promise((resolve) => held.push(() => resolve(FakeServer.prototype.onAuth.call(server, asked))));
  const client = await server.connected(t);
  const [gone, first] = ["private-gone", "private-again"].map((name) => client.subscribe(name));
  await until(() => held.length);
  const waiting = assert.rejects(gone.ready(), { code: "unsubscribed" });
  gone.unsubscribe();
  first.unsubscribe();
  await waiting;
  const second = client.subscribe("private-again");
  assert.notEqual(second, first);
  held[0]();
  await second.ready();
  assert.equal(held.length, 1);
  assert.deepEqual(server.socket.sent("pusher:subscribe").map(({ data }) => data.channel), ["private-again"]);
  assert.deepEqual(first.state, "unsubscribed");
});

test("answers of several requests may come in any order", async (t) => {
  const server = new FakeServer();
  const held = [];
  server.onAuth = (asked) => new Promise((resolve) => held.push(() => resolve(FakeServer.prototype.onAuth.call(server, asked))));
  const client = await server.connected(t);
  const channels = names(150).map((name) => client.subscribe(name));
  await until(() => held.length === 2);
  held[1]();
  await channels[149].ready();
  assert.equal(channels[0].state, "subscribing");
  held[0]();
  await Promise.all(channels.map((channel) => channel.ready()));
});

test("a token in the answer goes back with the next question", async (t) => {
  const server = new FakeServer();
  server.onAuth = ({ channels }) => json({ token: `t${channels.length}`, channels: { [channels[0]]: { auth: "k:s" } } });
  const client = await server.connected(t);
  await client.subscribe("private-a").ready();
  await client.subscribe("private-b").ready();
  assert.deepEqual(bodies(server).map(({ token }) => token), [undefined, "t1"]);
});

test("a refusal of the socket server denies the channel", async (t) => {
  const server = new FakeServer();
  server.onSubscribe = (socket, channel) =>
    socket.event(channel, "pusher:subscription_error", { type: "AuthError", error: "Invalid signature", status: 401 });
  const client = await server.connected(t);
  await assert.rejects(client.subscribe("private-a").ready(), { code: "denied", status: 401, message: /Invalid signature/ });
});

test("credentials are those of the options, and redirects are not followed", async (t) => {
  for (const [options, expected] of [[{}, "same-origin"], [{ credentials: "include" }, "include"]]) {
    const server = new FakeServer();
    const client = await server.connected(t, options);
    await client.subscribe("private-a").ready();
    assert.deepEqual(server.requests.map(({ credentials }) => credentials), [expected, expected]);
    assert.ok(server.requests.every(({ redirect }) => redirect === "manual"));
  }
});
