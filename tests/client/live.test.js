// The client against a Flask application and the embedded server, with pusher-js as the other party.
import assert from "node:assert/strict";
import { test } from "node:test";
import Pusher from "pusher-js";
import nacl from "tweetnacl";
import { WebSocket } from "ws";
import { connect } from "../../realtime_kit/client/realtime.js";
import { APPLICATION, call } from "./application.js";
import { proxy } from "./line.js";
import { within } from "./time.js";

const until = within(10_000);

function client(t, user, options = {}) {
  const made = connect({
    configUrl: `${APPLICATION}/realtime/config`,
    headers: () => (user ? { "X-User": user } : {}),
    WebSocket,
    ...options,
  });
  t.after(() => made.close());
  const errors = [];
  made.on("error", (error) => errors.push(error));
  return Object.assign(made, { errors });
}

/** Another party: pusher-js, unmodified. */
async function pusherJs(t, user) {
  const { client: { socket } } = await (await fetch(`${APPLICATION}/realtime/config`)).json();
  const endpoint = (name) => ({ endpoint: `${APPLICATION}/realtime/${name}`, transport: "ajax", headers: { "X-User": user } });
  const pusher = new Pusher(socket.key, {
    cluster: "local", wsHost: socket.host, wsPort: socket.port, forceTLS: false, enabledTransports: ["ws"],
    channelAuthorization: endpoint("auth"), userAuthentication: endpoint("user-auth"),
  });
  t.after(() => pusher.disconnect());
  return pusher;
}

test("public and private channels: what the application triggers arrives, with its id", async (t) => {
  const ada = client(t, "ada");
  const heard = [];
  const [open, orders] = [ada.subscribe("news"), ada.subscribe("private-orders-1")];
  for (const channel of [open, orders]) channel.on("*", (data, meta) => heard.push([meta.channel, meta.event, data, meta.id]));
  await Promise.all([open.ready(), orders.ready()]);
  heard.length = 0;
  await call("/do/trigger", { channels: ["news", "private-orders-1"], name: "shipped", data: { eta: "ü 12:00" }, id: "e1" });
  await call("/do/trigger", { channels: "news", name: "text", data: "plain" });
  await until(() => heard.length === 3);
  const shipped = heard.filter(([, name]) => name === "shipped").map(([channel, , data, id]) => [channel, data, id]);
  assert.deepEqual(shipped.sort(), [["news", { eta: "ü 12:00" }, "e1"], ["private-orders-1", { eta: "ü 12:00" }, "e1"]]);
  assert.deepEqual(heard.find(([, name]) => name === "text")[2], "plain");
  assert.deepEqual(ada.errors, []);
});

test("what no rule grants is denied, and a guest is one", async (t) => {
  const guest = client(t, null);
  await assert.rejects(guest.subscribe("private-orders-1").ready(), { code: "denied", status: 403 });
  await guest.subscribe("news").ready();
  assert.equal(guest.user.id, null);
  assert.deepEqual(guest.errors.map(({ code }) => code), ["denied"]);
});

test("250 channels are authorized in three requests", async (t) => {
  const asked = [];
  const ada = client(t, "ada", { fetch: (...args) => (asked.push(String(args[0])), fetch(...args)) });
  const channels = Array.from({ length: 250 }, (_, n) => ada.subscribe(`presence-room-x${n}`));
  await Promise.all(channels.map((channel) => channel.ready()));
  assert.equal(asked.filter((url) => url.endsWith("/realtime/auth")).length, 3);
  assert.ok(channels.every(({ members }) => members.me.id === "ada"));
});

test("presence and whispers, both ways with pusher-js", async (t) => {
  const ada = client(t, "ada");
  const room = ada.subscribe("presence-room-1");
  const told = [];
  for (const event of ["joined", "left"]) room.members.on(event, ({ id, info }) => told.push([event, id, info.name]));
  await room.ready();
  assert.deepEqual([...room.members], [["ada", { id: "ada", info: { name: "Ada" } }]]);

  const bob = await pusherJs(t, "bob");
  const theirs = bob.subscribe("presence-room-1");
  const whispered = [];
  theirs.bind("client-typing", (data, { user_id: userId }) => whispered.push([data, userId]));
  room.onWhisper("typing", (data, { userId }) => whispered.push([data, userId]));
  await until(() => theirs.subscribed);
  await until(() => room.members.has("bob"));
  assert.equal(theirs.members.count, 2);
  assert.equal(room.whisper("typing", { on: true }), true);
  await until(() => whispered.length === 1);
  theirs.trigger("client-typing", { on: false });
  await until(() => whispered.length === 2);
  assert.deepEqual(whispered, [[{ on: true }, "ada"], [{ on: false }, "bob"]]);
  bob.unsubscribe("presence-room-1");
  await until(() => !room.members.has("bob"));
  assert.deepEqual(told, [["joined", "bob", "Bob"], ["left", "bob", "Bob"]]);
});

test("the page that caused an event is left out of it", async (t) => {
  const [one, two] = [client(t, "ada"), client(t, "ada")];
  const heard = [];
  for (const [name, each] of [["one", one], ["two", two]]) {
    const channel = each.subscribe("news");
    channel.on("*", (data, { event }) => event.startsWith("pusher:") || heard.push([name, data]));
    await channel.ready();
  }
  await call("/do/trigger", { channels: "news", name: "x", data: 1, to_others: true }, one);
  await call("/do/trigger", { channels: "news", name: "x", data: 2 });
  await until(() => heard.length === 3);
  assert.deepEqual(heard.filter(([name]) => name === "one"), [["one", 2]]);
});

test("sign-in: events to the user, the watchlist, and the end of the user's connections", async (t) => {
  const ada = client(t, "ada");
  const heard = [];
  ada.user.on("notice", (data) => heard.push(["notice", data]));
  for (const event of ["online", "offline"]) ada.watchlist.on(event, (ids) => heard.push([event, ids]));
  const subscribed = new Promise((resolve) => ada.user.on("pusher:subscription_succeeded", resolve));
  await subscribed;
  assert.equal(ada.user.id, "ada");
  assert.equal(ada.user.data.user_info.name, "Ada");
  await call("/do/send_to_user", { user_id: "bob", name: "notice", data: "not yours" });
  await call("/do/send_to_user", { user_id: "ada", name: "notice", data: { n: 1 } });
  await until(() => heard.length === 1);
  const bob = client(t, "bob");
  await until(() => heard.some(([name]) => name === "online"));
  bob.close();
  await until(() => heard.some(([name]) => name === "offline"));
  assert.deepEqual(heard, [["notice", { n: 1 }], ["online", ["bob"]], ["offline", ["bob"]]]);

  await call("/do/disconnect_user", { user_id: "ada" });
  await until(() => ada.state === "failed");
  assert.equal(ada.errors.at(-1).serverCode, 4009);
});

test("revoke: the client comes back at once, with what it still may see", async (t) => {
  const ada = client(t, "ada");
  const [kept, lost] = [ada.subscribe("private-orders-1"), ada.subscribe("private-orders-2")];
  await Promise.all([kept.ready(), lost.ready()]);
  await until(() => ada.user.id === "ada");
  const first = ada.socketId;
  await call("/forbid", { user: "ada", order: 2 });
  await call("/do/revoke", { user_id: "ada" });
  await until(() => lost.state === "denied");
  await kept.ready();
  assert.equal(lost.error.code, "denied");
  assert.equal(ada.state, "connected");
  assert.notEqual(ada.socketId, first);
});

test("cache channels: a miss is an event, and then the last event comes at once", async (t) => {
  const ada = client(t, "ada");
  const empty = ada.subscribe("cache-prices");
  await new Promise((resolve) => empty.on("pusher:cache_miss", resolve));
  await call("/do/trigger", { channels: "cache-prices", name: "price", data: { n: 7 } });
  const bob = client(t, "bob");
  const price = await new Promise((resolve) => bob.subscribe("cache-prices").on("price", resolve));
  assert.deepEqual(price, { n: 7 });
});

test("encrypted channels open with tweetnacl, and what one of them says nobody else can read", async (t) => {
  const bytes = (base64) => new Uint8Array(Buffer.from(base64, "base64"));
  const ada = client(t, "ada", {
    decrypt: ({ nonce, ciphertext, sharedSecret }) => nacl.secretbox.open(bytes(ciphertext), bytes(nonce), bytes(sharedSecret)),
  });
  const channel = ada.subscribe("private-encrypted-safe");
  const opened = new Promise((resolve) => channel.on("secret", resolve));
  await channel.ready();
  await call("/do/trigger", { channels: "private-encrypted-safe", name: "secret", data: { n: "ü" } });
  assert.deepEqual(await opened, { n: "ü" });
});

test("a cut in the network: the client comes back by itself, and so do channels and members", async (t) => {
  const { client: { socket: { port } } } = await (await fetch(`${APPLICATION}/realtime/config`)).json();
  const line = await proxy(t, port);
  class Proxied extends WebSocket {
    constructor(url) {
      super(url.replace(`:${port}/`, `:${line.port}/`));
    }
  }
  const ada = client(t, "ada", { WebSocket: Proxied });
  const states = [];
  ada.on("state", (state, { error }) => states.push([state, error?.serverCode]));
  const [room, orders] = [ada.subscribe("presence-room-2"), ada.subscribe("private-orders-1")];
  await Promise.all([room.ready(), orders.ready()]);
  const first = ada.socketId;
  const told = [];
  room.members.on("joined", ({ id }) => told.push(id));
  line.cut();
  await until(() => ada.state === "waiting");
  const bob = client(t, "bob");
  await bob.subscribe("presence-room-2").ready();
  await until(() => ada.state === "connected" && room.state === "subscribed" && orders.state === "subscribed");
  assert.notEqual(ada.socketId, first);
  assert.deepEqual(states.map(([state]) => state), ["connected", "waiting", "connecting", "connected"]);
  assert.equal(states[1][1], 1006);
  await until(() => room.members.has("bob"));
  assert.deepEqual(told, ["bob"]);
  const arrived = new Promise((resolve) => orders.on("shipped", resolve));
  await call("/do/trigger", { channels: "private-orders-1", name: "shipped", data: 1 });
  assert.equal(await arrived, 1);
});

test("a server that does not know the key refuses for good, with its own words", async (t) => {
  class WrongKey extends WebSocket {
    constructor(url) {
      super(url.replace(/\/app\/[^?]+/, "/app/nobody"));
    }
  }
  const lost = client(t, "ada", { WebSocket: WrongKey });
  await until(() => lost.state === "failed");
  assert.equal(lost.errors[0].code, "refused");
  assert.equal(lost.errors[0].serverCode, 4001);
  assert.match(lost.errors[0].message, /nobody/);
});

test("nothing is left open after close, at whatever point it comes", async (t) => {
  const points = [
    (ada) => ada.state === "connecting",
    (ada) => ada.state === "connected",
    (ada) => ada.channels.get("private-orders-1").state === "subscribed",
    (ada) => ada.user.id === "ada",
  ];
  const open = new Set();
  class Watched extends WebSocket {
    constructor(url) {
      super(url);
      open.add(this);
      this.on("close", () => open.delete(this));
    }
  }
  for (const reached of points) {
    const ada = client(t, "ada", { WebSocket: Watched });
    ada.subscribe("private-orders-1");
    await until(() => reached(ada));
    ada.close();
    await until(() => open.size === 0, "every socket closed");
    assert.equal(ada.state, "closed");
    assert.deepEqual(ada.errors, []);
  }
});
