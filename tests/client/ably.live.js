// The client over ably-js, which is the real one, against Ably's emulator and a Flask application.
import assert from "node:assert/strict";
import { test } from "node:test";
import Ably from "ably";
import { connect } from "../../realtime_kit/client/realtime.js";
import { APPLICATION, call } from "./application.js";
import { within } from "./time.js";

const DEADLINE_MS = 15_000;
const until = within(DEADLINE_MS);

const asUser = (user) => (user ? { "X-User": Buffer.from(user).toString("base64") } : {});

function client(t, user, options = {}) {
  const made = connect({ configUrl: `${APPLICATION}/realtime/config`, headers: () => asUser(user), Ably, ...options });
  t.after(() => made.close());
  const errors = [];
  const states = [];
  made.on("error", (error) => errors.push(error));
  made.on("state", (state) => states.push(state));
  return Object.assign(made, { errors, states });
}

const asked = async () => (await fetch(`${APPLICATION}/asked`)).json();

test("public and private channels: what the application triggers arrives, with its id", async (t) => {
  const ada = client(t, "ada");
  const heard = [];
  const [open, orders] = [ada.subscribe("news"), ada.subscribe("private-orders-1")];
  for (const channel of [open, orders]) channel.on("*", (data, meta) => heard.push([meta.channel, meta.event, data, meta.id]));
  await Promise.all([open.ready(), orders.ready()]);
  heard.length = 0;
  await call("/do/trigger", { channels: ["news", "private-orders-1"], name: "shipped", data: { eta: "ü 12:00" }, id: "e1" });
  await call("/do/trigger", { channels: "news", name: "text", data: "7" });
  await call("/do/trigger", { channels: "news", name: "number", data: 7 });
  await until(() => heard.length === 4);
  const shipped = heard.filter(([, name]) => name === "shipped").map(([channel, , data, id]) => [channel, data, id]);
  assert.deepEqual(shipped.sort(), [["news", { eta: "ü 12:00" }, "e1"], ["private-orders-1", { eta: "ü 12:00" }, "e1"]]);
  assert.deepEqual(heard.slice(-2).map(([, , data]) => data), ["7", 7]);
  assert.deepEqual(ada.errors, []);
});

test("a mutation's id comes with its event", async (t) => {
  const ada = client(t, "ada");
  const news = ada.subscribe("news");
  await news.ready();
  const meta = new Promise((resolve) => news.on("saved", (_data, known) => resolve(known)));
  await call("/do/trigger", { channels: "news", name: "saved", data: {}, id: "e2", mutation: "m1" });
  assert.deepEqual(await meta, { event: "saved", channel: "news", id: "e2", mutation: "m1" });
});

test("what no rule grants is denied, and a guest has the public channels", async (t) => {
  const guest = client(t, null);
  await assert.rejects(guest.subscribe("private-orders-1").ready(), { code: "denied", status: 403, channel: "private-orders-1" });
  await guest.subscribe("news").ready();
  assert.equal(guest.user.id, null);
  assert.deepEqual(guest.errors.map(({ code }) => code), ["denied"]);
});

test("one request for the token, with all channels in it; one more for what comes later", async (t) => {
  const before = (await asked()).length;
  const ada = client(t, "ada");
  const names = Array.from({ length: 20 }, (_, n) => `private-talk-${n}`);
  await Promise.all(names.map((name) => ada.subscribe(name).ready()));
  assert.deepEqual((await asked()).slice(before).map(({ channels }) => channels), [names]);
  const first = ada.socketId;
  await Promise.all(["private-orders-1", "private-orders-2"].map((name) => ada.subscribe(name).ready()));
  const requests = (await asked()).slice(before + 1);
  assert.deepEqual(requests.map(({ channels }) => channels), [[...names, "private-orders-1", "private-orders-2"]]);
  assert.deepEqual(ada.states, ["connected"], "on the same connection");
  assert.ok(first && ada.socketId);
});

test("what was left is not in the next token", async (t) => {
  const ada = client(t, "ada");
  const left = ada.subscribe("private-orders-1");
  await left.ready();
  left.unsubscribe();
  await ada.subscribe("private-orders-2").ready();
  assert.deepEqual((await asked()).at(-1).channels, ["private-orders-2"]);
  await ada.subscribe("private-orders-1").ready();
});

test("more channels than one request names", async (t) => {
  const before = (await asked()).length;
  const ada = client(t, "ada");
  const names = Array.from({ length: 110 }, (_, n) => `private-cache-${n}`);
  await Promise.all(names.map((name) => ada.subscribe(name).ready()));
  const requests = (await asked()).slice(before);
  assert.deepEqual(requests.map(({ channels, token }) => [channels.length, typeof token]), [[100, "undefined"], [10, "string"]]);
});

test("more channels than a token holds: those that came last are denied, with the reason", async (t) => {
  const ada = client(t, "ada");
  const first = ada.subscribe("private-orders-1");
  await first.ready();
  const rooms = Array.from({ length: 90 }, (_, n) => ada.subscribe(`presence-room-${n}`));
  const results = await Promise.allSettled(rooms.map((room) => room.ready()));
  assert.deepEqual(new Set(results.map(({ reason }) => reason?.status)), new Set([413]));
  assert.equal(first.state, "subscribed");
  assert.equal(ada.state, "connected");
});

test("presence, by user: two windows are one member, and each is told who came and went", async (t) => {
  const ada = client(t, "ada");
  const room = ada.subscribe("presence-room-1");
  const told = [];
  for (const event of ["joined", "left"]) room.members.on(event, ({ id, info }) => told.push([event, id, info.name]));
  await room.ready();
  assert.deepEqual([...room.members], [["ada", { id: "ada", info: { name: "Ada" } }]]);
  assert.equal(room.members.me.id, "ada");
  const [one, two] = [client(t, "bob"), client(t, "bob")];
  const theirs = one.subscribe("presence-room-1");
  await theirs.ready();
  await two.subscribe("presence-room-1").ready();
  await until(() => room.members.has("bob"));
  assert.deepEqual([...theirs.members.keys()].sort(), ["ada", "bob"]);
  one.close();
  two.subscribe("presence-room-1").unsubscribe();
  await until(() => !room.members.has("bob"));
  assert.deepEqual(told, [["joined", "bob", "Bob"], ["left", "bob", "Bob"]]);
});

test("a member's info is the server's word, whatever the member says", async (t) => {
  const ada = client(t, "ada");
  const room = ada.subscribe("presence-room-liar");
  await room.ready();
  const answer = await fetch(`${APPLICATION}/realtime/auth`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...asUser("bob") },
    body: JSON.stringify({ channels: ["presence-room-liar"] }),
  });
  const { token } = await answer.json();
  const { client: { ably: { endpoint, port, tls } } } = await (await fetch(`${APPLICATION}/realtime/config`)).json();
  const liar = new Ably.Realtime({ token, endpoint, port, tls });
  t.after(() => liar.close());
  const theirs = liar.channels.get("presence:room-liar");
  await theirs.presence.enter({ name: "Ada" });
  await until(() => room.members.has("bob"));
  assert.deepEqual(room.members.get("bob").info, { name: "Bob" });

  const heard = [];
  room.on("*", (data, { event }) => heard.push([event, data]));
  await theirs.publish("shipped", { forged: true });
  await theirs.publish("client-typing", { on: true });
  await until(() => heard.length);
  assert.deepEqual(heard, [["client-typing", { on: true }]], "a browser's events are whispers");
});

test("who has a TokenRequest, which vouches for no info, is a member without", async (t) => {
  const ada = client(t, "ada");
  const room = ada.subscribe("presence-quiet-1");
  await room.ready();
  const channels = JSON.stringify(["presence-quiet-1", "presence-room-1"]);
  const { client: { ably: { endpoint, port, tls } } } = await (await fetch(`${APPLICATION}/realtime/config`)).json();
  const liar = new Ably.Realtime({
    endpoint, port, tls,
    authUrl: `${APPLICATION}/realtime/auth`,
    authParams: { channels, format: "token_request" },
    authHeaders: asUser("bob"),
  });
  t.after(() => liar.close());
  await liar.channels.get("presence:quiet-1").presence.enter({ name: "Ada" });
  await until(() => room.members.has("bob"));
  assert.equal(room.members.get("bob").info, undefined);
  await assert.rejects(liar.channels.get("presence:room-1").publish("shipped", {}), { code: 40160 });
});

test("whispers go to the others, with who it was", async (t) => {
  const [ada, bob] = [client(t, "ada"), client(t, "bob")];
  const [mine, theirs] = [ada, bob].map((each) => each.subscribe("presence-room-2"));
  await Promise.all([mine.ready(), theirs.ready()]);
  const heard = [];
  mine.onWhisper("typing", (data, { userId }) => heard.push(["mine", data, userId]));
  theirs.onWhisper("typing", (data, { userId }) => heard.push(["theirs", data, userId]));
  for (const data of [{ on: true }, "7", 7, null, [1]]) assert.equal(mine.whisper("typing", data), true);
  await until(() => heard.length === 5);
  assert.deepEqual(heard.map(([who, , userId]) => `${who} ${userId}`), Array(5).fill("theirs ada"));
  assert.deepEqual(heard.map(([, data]) => data), [{ on: true }, "7", 7, null, [1]]);
});

test("a whisper that the rule does not grant is an error, not a silence", async (t) => {
  const ada = client(t, "ada");
  const orders = ada.subscribe("private-orders-1");
  await orders.ready();
  assert.equal(orders.whisper("typing", {}), true);
  await until(() => ada.errors.length);
  assert.deepEqual(ada.errors.map(({ code, serverCode }) => [code, serverCode]), [["server_error", 40160]]);
  assert.equal(orders.state, "subscribed");
});

test("the page that caused an event is left out of it", async (t) => {
  const [one, two] = [client(t, "zoë * 7:x"), client(t, "zoë * 7:x")];
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

test("sign-in: events to the user, whatever the id is made of", async (t) => {
  for (const name of ["ada", "zoë * 7:x"]) {
    const each = client(t, name);
    const heard = [];
    each.user.on("notice", (data) => heard.push(data));
    await new Promise((resolve) => each.user.on("pusher:subscription_succeeded", resolve));
    assert.equal(each.user.id, name);
    await call("/do/send_to_user", { user_id: "bob", name: "notice", data: "not yours" });
    await call("/do/send_to_user", { user_id: name, name: "notice", data: { n: 1 } });
    await until(() => heard.length);
    assert.deepEqual(heard, [{ n: 1 }]);
    assert.deepEqual(each.errors, []);
  }
});

test("cache channels: a miss is an event, and then the last event comes at once", async (t) => {
  for (const name of ["cache-prices", "private-cache-prices"]) {
    const ada = client(t, "ada");
    const empty = ada.subscribe(name);
    await new Promise((resolve) => empty.on("pusher:cache_miss", resolve));
    await call("/do/trigger", { channels: name, name: "price", data: { n: 7 } });
    const bob = client(t, "bob");
    const price = await new Promise((resolve) => bob.subscribe(name).on("price", resolve));
    assert.deepEqual(price, { n: 7 });
  }
});

test("encrypted channels open by themselves", async (t) => {
  const ada = client(t, "ada");
  const channel = ada.subscribe("private-encrypted-safe");
  const opened = new Promise((resolve) => channel.on("secret", resolve));
  await channel.ready();
  await call("/do/trigger", { channels: "private-encrypted-safe", name: "secret", data: { n: "ü" } });
  assert.deepEqual(await opened, { n: "ü" });
});

test("a cut in the network: it resumes, and what was sent meanwhile arrives once", async (t) => {
  const ada = client(t, "ada");
  const [room, orders] = [ada.subscribe("presence-room-3"), ada.subscribe("private-orders-1")];
  await Promise.all([room.ready(), orders.ready()]);
  await until(() => ada.user.id === "ada");
  const heard = [];
  orders.on("shipped", (data) => heard.push(data));
  const told = [];
  for (const event of ["joined", "left"]) room.members.on(event, ({ id }) => told.push([event, id]));
  const first = ada.socketId;
  const before = (await asked()).length;
  await call("/do/trigger", { channels: "private-orders-1", name: "shipped", data: 1 });
  await call("/fault/cut");
  await call("/do/trigger", { channels: "private-orders-1", name: "shipped", data: 2 });
  await until(() => ada.states.includes("waiting"));
  await until(() => ada.state === "connected" && room.state === "subscribed" && orders.state === "subscribed");
  await call("/do/trigger", { channels: "private-orders-1", name: "shipped", data: 3 });
  await until(() => heard.includes(3));
  assert.deepEqual(heard, [1, 2, 3]);
  assert.deepEqual(told, []);
  assert.equal((await asked()).length, before, "the token is good for it");
  assert.deepEqual(ada.errors, []);
  await call("/do/trigger", { channels: "private-orders-1", name: "shipped", data: 4, to_others: true }, ada);
  await call("/do/trigger", { channels: "private-orders-1", name: "shipped", data: 5 });
  await until(() => heard.includes(5));
  assert.deepEqual(heard, [1, 2, 3, 5], `${first} is not the key any more`);
});

test("the token is renewed on the same connection when the server asks, and all channels stay", async (t) => {
  const ada = client(t, "ada");
  const [orders, room] = [ada.subscribe("private-orders-1"), ada.subscribe("presence-room-4")];
  await Promise.all([orders.ready(), room.ready()]);
  await until(() => ada.user.id === "ada");
  const before = (await asked()).length;
  await call("/fault/renew");
  await call("/do/trigger", { channels: "private-orders-1", name: "x", data: 1 }); // the frame it follows
  await until(() => ada.socketId);
  let requests = [];
  const deadline = Date.now() + DEADLINE_MS;
  while (!requests.length && Date.now() < deadline) requests = (await asked()).slice(before);
  assert.deepEqual(requests.map(({ channels }) => channels), [["private-orders-1", "presence-room-4"]]);
  const heard = new Promise((resolve) => orders.on("y", resolve));
  await call("/do/trigger", { channels: "private-orders-1", name: "y", data: 2 });
  assert.equal(await heard, 2);
  assert.deepEqual(ada.states, ["connected"]);
});

test("an expired token: another one, and on with it", async (t) => {
  const ada = client(t, "ada");
  const orders = ada.subscribe("private-orders-1");
  await orders.ready();
  await until(() => ada.user.id === "ada");
  const before = (await asked()).length;
  await call("/fault/expire");
  await call("/do/trigger", { channels: "private-orders-1", name: "x", data: 1 });
  await until(() => ada.states.includes("waiting"));
  await until(() => ada.state === "connected" && orders.state === "subscribed");
  assert.equal((await asked()).length, before + 1);
});

test("revoke: the client comes back with what it still may see", async (t) => {
  const ada = client(t, "ada");
  const [kept, lost] = [ada.subscribe("private-orders-1"), ada.subscribe("private-orders-2")];
  await Promise.all([kept.ready(), lost.ready()]);
  await call("/forbid", { user: "ada", order: 2 });
  await call("/do/revoke", { user_id: "ada" });
  await until(() => lost.state === "denied");
  await kept.ready();
  await until(() => ada.state === "connected" && kept.state === "subscribed");
  assert.equal(lost.error.code, "denied");
  await assert.rejects(ada.subscribe("private-orders-2").ready(), { code: "denied" });
});

test("somebody else signs in: a new connection, theirs", async (t) => {
  let user = "ada";
  const page = client(t, null, { headers: () => asUser(user) });
  const room = page.subscribe("presence-room-5");
  await room.ready();
  user = "bob";
  await call("/fault/expire");
  await call("/do/trigger", { channels: "presence-room-5", name: "x", data: 1 });
  await until(() => room.members.me?.id === "bob" && page.state === "connected");
  await until(() => page.user.id === "bob");
});

test("the application does not answer: it is asked again; it says no: given up", async (t) => {
  let answer = () => new Response("{}", { status: 503 });
  const flaky = (url, init) => (String(url).endsWith("/auth") && answer ? Promise.resolve(answer()) : fetch(url, init));
  const ada = client(t, "ada", { fetch: flaky });
  const orders = ada.subscribe("private-orders-1");
  await until(() => ada.state === "waiting");
  answer = null;
  await orders.ready();
  answer = () => new Response("{}", { status: 401 });
  const later = ada.subscribe("private-talk-later");
  await assert.rejects(later.ready(), { code: "unauthorized", status: 401 });
  assert.equal(orders.state, "subscribed");
  const nobody = client(t, "ada", { fetch: flaky });
  await until(() => nobody.state === "failed");
  assert.equal(nobody.errors[0].code, "unauthorized");
});

test("nothing is left open after close, at whatever point it comes", async (t) => {
  const points = [
    (ada) => ada.state === "connecting",
    (ada) => ada.state === "connected",
    (ada) => ada.channels.get("private-orders-1").state === "subscribed",
    (ada) => ada.user.id === "ada",
  ];
  for (const reached of points) {
    const ada = client(t, "ada");
    ada.subscribe("private-orders-1");
    await until(() => reached(ada));
    ada.close();
    assert.equal(ada.state, "closed");
    assert.deepEqual(ada.errors, []);
  }
});

// The last one: from here on the emulator's clock is ahead of the application's.

test("a break that was too long: another connection, and a new beginning of its channels", async (t) => {
  const ada = client(t, "ada");
  const [room, orders] = [ada.subscribe("presence-room-6"), ada.subscribe("private-orders-1")];
  await Promise.all([room.ready(), orders.ready()]);
  await until(() => ada.user.id === "ada");
  const heard = [];
  orders.on("*", (data, { event }) => heard.push(event));
  await call("/fault/gone");
  await until(() => ada.state === "waiting");
  await call("/fault/back");
  await until(() => ada.state === "connected" && room.state === "subscribed" && orders.state === "subscribed");
  await call("/do/trigger", { channels: "private-orders-1", name: "shipped", data: 1 });
  await call("/do/send_to_user", { user_id: "ada", name: "notice", data: 1 });
  await until(() => heard.includes("shipped"));
  assert.deepEqual(heard, ["pusher:subscription_succeeded", "shipped"]);
  assert.deepEqual([...room.members.keys()], ["ada"]);
  const bob = client(t, "bob");
  const theirs = bob.subscribe("presence-room-6");
  await theirs.ready();
  await until(() => room.members.has("bob"));
  assert.deepEqual([...theirs.members.keys()].sort(), ["ada", "bob"]);
});
