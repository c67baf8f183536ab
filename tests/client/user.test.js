import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeServer, json, until } from "./fake.js";
import { settle } from "./time.js";

/** A server that offers sign-in, and takes it as the Pusher protocol says. */
function offering() {
  const server = new FakeServer();
  server.config.userAuth = "/realtime/user-auth";
  server.onFrame = (socket, frame) => {
    if (frame.event === "pusher:signin") {
      socket.push({ event: "pusher:signin_success", data: { user_data: frame.data.user_data } });
    } else FakeServer.prototype.onFrame.call(server, socket, frame);
  };
  return server;
}

const subscribedTo = (server) => server.socket.sent("pusher:subscribe").map(({ data }) => data);

test("it signs in by itself, and events sent to the user arrive, each id once", async (t) => {
  const server = offering();
  const client = await server.connected(t);
  const heard = [];
  client.user.on("notice", (data, meta) => heard.push([data, meta.id]));
  await until(() => subscribedTo(server).length);
  assert.equal(client.user.id, "7");
  assert.deepEqual(client.user.data, { id: "7", user_info: { name: "Ada" } });
  const [request] = server.asked("user-auth");
  assert.equal(request.method, "POST");
  assert.ok(request.body instanceof URLSearchParams);
  assert.equal(String(request.body), "socket_id=1.1");
  assert.deepEqual(server.socket.sent("pusher:signin")[0].data, {
    auth: "app-key:user",
    user_data: '{"id":"7","user_info":{"name":"Ada"}}',
  });
  assert.deepEqual(subscribedTo(server), [{ channel: "#server-to-user-7" }]);
  server.socket.event("#server-to-user-7", "notice", { n: 1 }, { id: "e1" });
  server.socket.event("#server-to-user-7", "notice", { n: 1 }, { id: "e1" });
  server.socket.event("#server-to-user-8", "notice", { n: 2 });
  assert.deepEqual(heard, [[{ n: 1 }, "e1"]]);
});

test("a reconnection signs in again, perhaps as another", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = offering();
  const client = await server.connected(t);
  await until(() => client.user.id === "7");
  server.onUserAuth = () => json({ auth: "k", user_data: '{"id":"8"}' });
  server.socket.drop();
  t.mock.timers.tick(2000);
  await until(() => client.user.id === "8");
  assert.deepEqual(subscribedTo(server), [{ channel: "#server-to-user-8" }]);
});

for (const status of [403, 401]) {
  test(`${status} means a guest, which is no error`, async (t) => {
    const server = offering();
    server.onUserAuth = () => json({}, status);
    const client = await server.connected(t);
    await until(() => server.asked("user-auth").length === (status === 401 ? 2 : 1));
    await settle();
    assert.equal(client.user.id, null);
    assert.deepEqual(client.errors, []);
    assert.deepEqual(server.socket.received, []);
    await client.subscribe("private-a").ready();
  });
}

test("a user who has become a guest is one", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = offering();
  const client = await server.connected(t);
  await until(() => client.user.id === "7");
  server.onUserAuth = () => json({}, 403);
  server.socket.drop();
  t.mock.timers.tick(2000);
  await until(() => client.user.id === null);
  assert.equal(client.user.data, null);
});

test("an application that cannot sign in just now is asked again; one that answers nonsense is reported", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = offering();
  const faults = [() => json({}, 503), () => json({}, 500)];
  server.onUserAuth = () => (faults.shift() ?? FakeServer.prototype.onUserAuth)();
  const client = await server.connected(t);
  for (let n = 1; n <= 2; n += 1) {
    await until(() => client.errors.length === n);
    await settle();
    t.mock.timers.tick(4000);
  }
  await until(() => client.user.id === "7");

  const other = offering();
  other.onUserAuth = () => json({}, 404);
  const lost = await other.connected(t);
  await until(() => lost.errors.length);
  assert.equal(lost.errors[0].code, "bad_answer");
});

test("no sign-in where the config offers none, or the app wants none", async (t) => {
  const quiet = new FakeServer();
  await quiet.connected(t);
  const server = offering();
  await server.connected(t, { signIn: false });
  await settle();
  assert.deepEqual([...quiet.asked("user-auth"), ...server.asked("user-auth")], []);
});

test("an answer to a sign-in that came too late is not used", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = offering();
  const held = [];
  server.onUserAuth = () => new Promise((resolve) => held.push(() => resolve(FakeServer.prototype.onUserAuth())));
  const client = await server.connected(t);
  await until(() => held.length === 1);
  server.socket.drop();
  t.mock.timers.tick(2000);
  await until(() => held.length === 2);
  held[0]();
  await settle();
  assert.deepEqual(server.socket.received, []);
  held[1]();
  await until(() => client.user.id === "7");
});

test("the watchlist tells who comes and goes", async (t) => {
  const server = offering();
  const client = await server.connected(t);
  const heard = [];
  for (const event of ["online", "offline"]) client.watchlist.on(event, (ids) => heard.push([event, ids]));
  const events = [{ name: "online", user_ids: ["1", "2"] }, { name: "offline", user_ids: ["3"] }];
  server.socket.push({ event: "pusher_internal:watchlist_events", data: { events } });
  server.socket.push({ event: "pusher_internal:watchlist_events", data: JSON.stringify({ events }) });
  const once = [["online", ["1", "2"]], ["offline", ["3"]]];
  assert.deepEqual(heard, [...once, ...once]);
});

// fetch

test("fetch carries the socket id and the CSRF token, to the application alone", async (t) => {
  const server = new FakeServer();
  const client = server.connect(t, { csrfToken: () => "csrf" });
  const sent = async (input, init) => {
    await client.fetch(input, init);
    return server.requests.at(-1);
  };
  assert.equal((await sent("/before")).headers.get("X-Socket-ID"), null);
  await until(() => client.state === "connected");

  const own = await sent("/messages", { method: "POST", body: "{}", headers: { "Content-Type": "application/json" } });
  assert.deepEqual([own.path, own.method, own.body], ["/messages", "POST", "{}"]);
  assert.deepEqual(Object.fromEntries(own.headers), {
    "content-type": "application/json",
    "x-csrf-token": "csrf",
    "x-socket-id": "1.1",
  });
  assert.equal(own.credentials, "same-origin");
  const foreign = await sent("https://elsewhere.test/x", { headers: { A: "1" } });
  assert.deepEqual(Object.fromEntries(foreign.headers), { a: "1" });
  assert.equal((await sent(new URL("http://app.test/y"))).headers.get("X-Socket-ID"), "1.1");
});

test("fetch takes a Request as fetch does", async (t) => {
  const calls = [];
  const server = new FakeServer();
  const client = await server.connected(t, {
    fetch: (...call) => (calls.push(call), server.fetch(...call)),
    csrfToken: () => null,
  });
  const request = new Request("http://app.test/z", { method: "PUT", headers: { A: "1" }, body: "x" });
  const answer = server.fetch;
  server.fetch = async () => json({});
  await client.fetch(request);
  server.fetch = answer;
  const [input, init] = calls.at(-1);
  assert.equal(input, request);
  assert.deepEqual(Object.fromEntries(init.headers), { a: "1", "content-type": "text/plain;charset=UTF-8", "x-socket-id": "1.1" });
});

test("the CSRF token is the page's meta tag by default", async (t) => {
  globalThis.document = { querySelector: (selector) => (selector === "meta[name=csrf-token]" ? { content: "meta" } : null) };
  t.after(() => delete globalThis.document);
  const server = new FakeServer();
  const client = await server.connected(t);
  await client.fetch("/x");
  assert.equal(server.requests.at(-1).headers.get("X-CSRF-Token"), "meta");
});
