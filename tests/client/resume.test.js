// Order, repeats and holes: the rules at the head of resume.js, by their numbers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { json, until } from "./fake.js";
import { serverWith } from "./fakelog.js";
import { pass, settle, stopTime } from "./time.js";

const MINUTE = 60_000;

function stage(t, ...names) {
  stopTime(t);
  return serverWith(...names);
}

/** A client with a channel that is subscribed and placed; what it hears, and its gaps. */
async function listening(t, server, name = "news", options = {}) {
  const client = await server.connected(t);
  const channel = client.subscribe(name, options);
  const heard = [];
  const gaps = [];
  channel.on("x", (data) => heard.push(data));
  channel.onGap((gap) => gaps.push(gap));
  await until(() => channel.state === "subscribed", "subscribed");
  await pass(t, 20, 10);
  await channel.ready();
  return { client, channel, heard, gaps };
}

const questions = (server) => server.asked("events").map(({ query, headers }) => [query.getAll("channel").join(), headers.get("Last-Event-ID")]);

test("2: the position of all channels is asked for once, after they are subscribed; ready waits for it", async (t) => {
  const server = stage(t, "a", "b");
  server.log.append("b", "x", 0);
  const client = await server.connected(t);
  const [a, b, none] = ["a", "b", "none"].map((name) => client.subscribe(name));
  let isReady = false;
  a.ready().then(() => (isReady = true));
  await until(() => none.state === "subscribed");
  await settle();
  assert.deepEqual([a.state, isReady], ["subscribed", false]);
  await pass(t, 20, 10);
  await Promise.all([a.ready(), b.ready(), none.ready()]);
  assert.deepEqual(questions(server), [["a,b,none", ",,"]], "the one that keeps none is told, too");
  assert.deepEqual([a.position, b.position, none.position], ["@1700000000000:0", "e2:1", null]);
  server.socket.drop();
  await pass(t, 5000);
  assert.deepEqual(questions(server).slice(1), [["a,b", "@1700000000000:0,e2:1"]], "which is remembered");
  assert.deepEqual(client.errors, []);
});

test("2: a position out of the page: what was triggered since it was rendered arrives", async (t) => {
  const server = stage(t, "news");
  server.trigger("news", 1);
  const position = server.log.position("news");
  for (const n of [2, 3]) server.trigger("news", n);
  const { heard, gaps, channel } = await listening(t, server, "news", { position });
  assert.deepEqual([heard, gaps, channel.position], [[2, 3], [], "e1:3"]);
});

test("2, 5: a frame that comes before the answer, or after it though the log knew it, is no repeat", async (t) => {
  const server = stage(t, "news", "late");
  const client = await server.connected(t);
  const heard = [];
  const [news, late] = ["news", "late"].map((name) => client.subscribe(name));
  for (const channel of [news, late]) channel.on("x", (data) => heard.push(data));
  await until(() => news.state === "subscribed" && late.state === "subscribed");
  server.trigger("news", "before");
  const send = server.trigger("late", "on its way", { isLost: true });
  await pass(t, 20, 10);
  assert.equal(late.position, "e2:1");
  send();
  send();
  assert.deepEqual(heard, ["before", "on its way"]);
  server.trigger("late", "next");
  send();
  await pass(t, 1000);
  assert.deepEqual(heard, ["before", "on its way", "next"]);
  assert.equal(server.asked("events").length, 1);
});

test("5: what the log knew and no frame brings is asked for", async (t) => {
  const server = stage(t, "news");
  const client = await server.connected(t);
  const heard = [];
  const news = client.subscribe("news");
  news.on("x", (data) => heard.push(data));
  await until(() => news.state === "subscribed");
  const send = server.trigger("news", 1, { isLost: true });
  server.trigger("news", 2, { isLost: true });
  await pass(t, 20, 10);
  send();
  assert.deepEqual(heard, [1]);
  await pass(t, 400);
  assert.deepEqual([heard, news.position], [[1, 2], "e1:2"]);
});

test("3: repeats are dropped; events without an offset and whispers go past it all", async (t) => {
  const server = stage(t, "presence-a");
  const { heard, channel } = await listening(t, server, "presence-a");
  const whispers = [];
  channel.onWhisper("x", (data, meta) => whispers.push([data, channel.position, meta.userId]));
  server.trigger("presence-a", 1);
  server.trigger("presence-a", 2)();
  server.socket.event("presence-a", "x", "bare");
  server.socket.event("presence-a", "client-x", { n: 1, _rk: { o: 99, e: "e1" } }, { user_id: "7" });
  assert.deepEqual(heard, [1, 2, "bare"]);
  assert.deepEqual(whispers, [[{ n: 1, _rk: { o: 99, e: "e1" } }, "e1:2", "7"]]);
});

test("4: two that overtook each other are put in order, and nobody is asked", async (t) => {
  const server = stage(t, "news");
  const { heard } = await listening(t, server);
  const before = server.asked("events").length;
  const first = server.trigger("news", 1, { isLost: true });
  server.trigger("news", 2);
  await pass(t, 200);
  assert.deepEqual(heard, []);
  first();
  assert.deepEqual(heard, [1, 2]);
  await pass(t, 1000);
  assert.equal(server.asked("events").length, before);
});

test("4, 6: holes are filled out of the log, those of several channels at once", async (t) => {
  const server = stage(t, "a", "b");
  const { heard, client } = await listening(t, server, "a");
  const other = client.subscribe("b");
  other.on("x", (data) => heard.push(data));
  await until(() => other.state === "subscribed");
  await pass(t, 20, 10);
  const before = server.asked("events").length;
  for (const name of ["a", "b"]) {
    server.trigger(name, `${name}1`, { isLost: true });
    server.trigger(name, `${name}2`);
  }
  await pass(t, 240, 10);
  assert.deepEqual(heard, []);
  await pass(t, 20, 10);
  assert.deepEqual(heard, ["a1", "a2", "b1", "b2"]);
  assert.equal(server.asked("events").length, before + 1);
  server.trigger("a", "a3");
  assert.equal(heard.at(-1), "a3");
});

test("4: more than can be held are in the log, too", async (t) => {
  const server = stage(t, "news");
  const { heard } = await listening(t, server);
  server.trigger("news", 0, { isLost: true });
  const all = Array.from({ length: 1200 }, (_, n) => n + 1);
  for (const n of all) server.trigger("news", n);
  assert.deepEqual(heard, []);
  await pass(t, 2000);
  assert.deepEqual(heard, [0, ...all]);
});

test("6: pages are fetched one after the other", async (t) => {
  const server = stage(t, "news");
  const { heard, client } = await listening(t, server);
  server.log.page = 10;
  server.socket.drop();
  for (let n = 0; n < 35; n += 1) server.trigger("news", n);
  await pass(t, 2000);
  assert.equal(client.state, "connected");
  assert.deepEqual(heard, Array.from({ length: 35 }, (_, n) => n));
});

test("6: what fails for the moment is asked again, later each time and not before Retry-After", async (t) => {
  const server = stage(t, "news");
  const { heard, client } = await listening(t, server);
  const { onEvents } = server;
  const times = [];
  server.onEvents = () => {
    times.push(Date.now());
    return times.length === 1 ? json({}, 503, { "Retry-After": "7" }) : json({}, 500);
  };
  server.trigger("news", 1, { isLost: true });
  server.trigger("news", 2);
  await pass(t, 30_000);
  const gaps = times.slice(1).map((time, n) => time - times[n]);
  assert.ok(gaps[0] >= 7500 && gaps[0] < 7700, `${gaps}`);
  assert.ok(gaps[1] >= 1100 && gaps[2] >= 2100 && gaps[3] >= 4100, `${gaps}`);
  assert.ok(client.errors.every(({ code }) => code === "request_failed"));
  server.onEvents = onEvents;
  await pass(t, 30_000);
  assert.deepEqual(heard, [1, 2]);
});

test("6: who cannot be asked for a position is ready all the same", async (t) => {
  const server = stage(t, "news");
  server.onEvents = () => json({}, 500);
  const client = await server.connected(t);
  const channel = client.subscribe("news");
  await until(() => channel.state === "subscribed");
  await pass(t, 20, 10);
  await channel.ready();
  assert.equal(client.errors[0].code, "request_failed");
});

test("7: the page's own events are holes that stay", async (t) => {
  const server = stage(t, "news");
  const { heard, client, gaps } = await listening(t, server);
  server.trigger("news", "mine", { exclude: client.socketId });
  server.trigger("news", "theirs");
  await pass(t, 400);
  assert.deepEqual([heard, gaps], [["theirs"], []]);
  const before = client.socketId;
  server.trigger("news", "mine again", { exclude: before });
  server.socket.drop();
  await pass(t, 2000);
  assert.notEqual(client.socketId, before);
  assert.equal(server.asked("events").at(-1).headers.get("X-Socket-ID"), `${client.socketId},${before}`);
  server.trigger("news", "theirs again");
  assert.deepEqual(heard, ["theirs", "theirs again"]);
});

test("7: after too long a time it is told, to the channel and to the client, and goes on", async (t) => {
  const server = stage(t, "news");
  const { heard, gaps, client, channel } = await listening(t, server);
  const told = [];
  client.onGap((gap) => told.push(gap));
  server.trigger("news", 1);
  server.socket.drop();
  for (let n = 2; n < 9; n += 1) server.trigger("news", n);
  server.log.trim("news", 3);
  await pass(t, 2000);
  assert.deepEqual(gaps, [{ channel: "news", position: "e1:8" }]);
  assert.deepEqual(told, gaps);
  assert.equal(channel.position, "e1:8");
  server.trigger("news", 9);
  assert.deepEqual(heard, [1, 9]);
});

test("7: nobody listens for gaps: the console does", async (t) => {
  const server = stage(t, "news");
  const warnings = [];
  t.mock.method(console, "warn", (text) => warnings.push(text));
  const client = await server.connected(t);
  client.subscribe("news", { position: "gone:7" });
  await pass(t, 500);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /news: events were lost/);
});

test("7: a log that begins anew is a gap, wherever it is noticed", async (t) => {
  const server = stage(t, "news");
  const { heard, gaps, channel } = await listening(t, server);
  for (const n of [1, 2, 3]) server.trigger("news", n);
  server.log.forget("news");
  server.trigger("news", "first of the new one");
  await pass(t, 400);
  assert.deepEqual(gaps, [{ channel: "news", position: "e2:0" }]);
  server.trigger("news", "second");
  server.socket.event("news", "x", "of the old one", { id: "old", epoch: "e1", offset: 4 });
  await pass(t, 2000);
  server.trigger("news", "third");
  assert.deepEqual(heard, [1, 2, 3, "first of the new one", "second", "third"]);
  assert.equal(channel.position, "e2:3");
  assert.equal(gaps.length, 1);
});

test("8: what the log never heard of is delivered in the end, and told as a gap", async (t) => {
  const server = stage(t, "news");
  const { heard, gaps, channel } = await listening(t, server);
  server.trigger("news", 1);
  const before = server.asked("events").length;
  for (const offset of [9, 8]) server.socket.event("news", "x", offset, { id: `o${offset}`, epoch: "e1", offset });
  await pass(t, MINUTE);
  assert.equal(server.asked("events").length, before + 3);
  assert.deepEqual([heard, gaps.length, channel.position], [[1, 8, 9], 1, "e1:9"]);
});

test("9: a lost connection forgets what is held; all is asked for after the next subscription", async (t) => {
  const server = stage(t, "news");
  const { heard, client } = await listening(t, server);
  server.trigger("news", 1, { isLost: true });
  server.trigger("news", 2);
  server.socket.drop();
  await pass(t, 400);
  assert.equal(questions(server).length, 1, "not while there is no connection");
  await pass(t, 2000);
  assert.equal(client.state, "connected");
  assert.deepEqual(heard, [1, 2]);
  assert.deepEqual(questions(server).slice(1), [["news", "@1700000000000:0"]]);
});

test("9: an answer that comes after the connection is lost is not used", async (t) => {
  const server = stage(t, "news");
  const { heard } = await listening(t, server);
  const { onEvents } = server;
  let answer;
  server.onEvents = (request) => new Promise((resolve) => (answer = () => resolve(onEvents(request))));
  server.trigger("news", 1, { isLost: true });
  server.trigger("news", 2);
  await pass(t, 300);
  server.socket.drop();
  server.onEvents = onEvents;
  answer();
  await pass(t, 3000);
  assert.deepEqual(heard, [1, 2]);
});

test("10: denied there though subscribed here: reported, and events go on, holes told", async (t) => {
  const server = stage(t, "news");
  const { heard, gaps, client, channel } = await listening(t, server);
  server.log.denied.add("news");
  server.trigger("news", 1, { isLost: true });
  server.trigger("news", 2);
  await pass(t, 400);
  assert.deepEqual([heard, gaps], [[2], [{ channel: "news", position: null }]]);
  assert.deepEqual(client.errors.map(({ code }) => code), ["denied"]);
  server.trigger("news", 3, { isLost: true });
  server.trigger("news", 4);
  assert.deepEqual([heard, gaps.length, channel.state], [[2, 4], 2, "subscribed"]);
  const before = server.asked("events").length;
  await pass(t, MINUTE);
  assert.equal(server.asked("events").length, before);
  server.log.denied.clear();
  server.socket.drop();
  await pass(t, 3000);
  assert.equal(server.asked("events").length, before + 1, "after the next subscription, again");
});

test("10: a position that is none: told, and gone on from the next event", async (t) => {
  const server = stage(t, "news");
  server.onEvents = () => json({ error: "a position is EPOCH:OFFSET" }, 400);
  const { heard, gaps, client } = await listening(t, server, "news", { position: "rubbish" });
  assert.deepEqual(gaps, [{ channel: "news", position: null }]);
  assert.deepEqual(client.errors.map(({ code }) => code), ["bad_answer"]);
  server.trigger("news", 1);
  assert.deepEqual(heard, [1]);
});

test("a channel that is left is asked for no more, and joined again it begins anew", async (t) => {
  const server = stage(t, "news");
  const { heard, channel, client } = await listening(t, server);
  const before = server.asked("events").length;
  server.trigger("news", 1, { isLost: true });
  server.trigger("news", 2);
  channel.unsubscribe();
  await pass(t, 1000);
  assert.equal(server.asked("events").length, before);
  const again = client.subscribe("news");
  again.on("x", (data) => heard.push(["again", data]));
  await until(() => again.state === "subscribed");
  await pass(t, 20, 10);
  server.trigger("news", 3);
  assert.deepEqual(heard, [["again", 3]]);
});

test("a handler that leaves the channel in the midst of held events hears no more of them", async (t) => {
  const server = stage(t, "news");
  const { heard, channel } = await listening(t, server);
  channel.on("x", () => channel.unsubscribe());
  const first = server.trigger("news", 1, { isLost: true });
  server.trigger("news", 2);
  first();
  assert.deepEqual(heard, [1]);
});

test("ids that ride in the data count as well", async (t) => {
  const server = stage(t, "news");
  const { channel, heard } = await listening(t, server);
  channel.on("object", (data, { offset, epoch }) => heard.push([data, offset, epoch]));
  const frame = (n) => server.socket.event("news", "object", { n, _rk: { id: `r${n}`, o: n, e: "e1" } });
  server.log.append("news", "object", { n: 1 });
  server.log.append("news", "object", { n: 2 });
  frame(2);
  frame(1);
  frame(1);
  assert.deepEqual(heard, [[{ n: 1 }, 1, "e1"], [{ n: 2 }, 2, "e1"]]);
});

test("close leaves no timer and no question behind", async (t) => {
  const server = stage(t, "news");
  const { client } = await listening(t, server);
  server.onEvents = () => new Promise(() => {});
  server.trigger("news", 1, { isLost: true });
  server.trigger("news", 2);
  await pass(t, 300);
  client.close();
  const before = server.asked("events").length;
  await pass(t, MINUTE, 1000);
  assert.equal(server.asked("events").length, before);
  assert.deepEqual(client.errors, []);
});

test("without /events in the config nothing is held back, as there is nobody to ask", async (t) => {
  const server = stage(t, "news");
  server.config.events = null;
  const { heard } = await listening(t, server);
  server.trigger("news", 1, { isLost: true });
  server.trigger("news", 2);
  assert.deepEqual(heard, [2]);
  assert.equal(server.asked("events").length, 0);
});

// Mulberry32: a seed makes the same run again.
function randomOf(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const SEEDS = Number(process.env.SEEDS ?? 40);
const FIRST = Number(process.env.SEED ?? 1);

test(`whatever is lost, late, repeated, overtaken or cut: each event once, in order, or told (${SEEDS} seeds from ${FIRST})`, async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1) await run(t, seed);
});

async function run(t, seed) {
  const names = ["a", "b", "c"];
  const random = randomOf(seed);
  const chance = (share) => random() < share;
  const pick = (from) => from[Math.floor(random() * from.length)];
  t.mock.method(Math, "random", random);
  const server = serverWith(...names);
  const { log } = server;
  log.page = 1 + Math.floor(random() * 20);
  const { onEvents } = server;
  server.onEvents = (request) => (chance(0.1) ? json({}, 503) : onEvents(request));
  const client = await server.connected(t);
  client.on("error", () => {});
  const due = new Map(); // channel → ids that it is owed, oldest first
  const heard = new Map();
  for (const name of names) {
    due.set(name, []);
    heard.set(name, []);
    const channel = client.subscribe(name);
    channel.on("x", (id) => {
      const owed = due.get(name);
      assert.equal(id, owed[0]?.id, `seed ${seed}: ${name} owes ${owed.slice(0, 3).map((one) => one.id)}, and got ${id}`);
      heard.get(name).push(owed.shift().id);
    });
    channel.onGap(({ position }) => {
      assert.ok(position, `seed ${seed}: a gap says where it goes on`);
      const [epoch, offset] = position.split(":");
      const isBefore = (one) => one.epoch !== epoch || one.offset <= offset;
      due.set(name, due.get(name).filter((one) => !isBefore(one)));
    });
  }
  const later = [];
  server.onEvents = onEvents;
  await until(() => names.every((name) => client.channels.get(name).state === "subscribed"));
  await pass(t, 20, 10);
  server.onEvents = (request) => (chance(0.1) ? json({}, 503) : onEvents(request));
  let n = 0;
  for (let step = 0; step < 120; step += 1) {
    const name = pick(names);
    if (chance(0.7)) {
      const id = `${name}${(n += 1)}`;
      const isMine = chance(0.1);
      const exclude = isMine && client.socketId ? client.socketId : undefined;
      const send = server.trigger(name, id, { exclude, isLost: true });
      const { epoch, offset } = log.channels.get(name).entries.at(-1);
      if (exclude) continue;
      due.get(name).push({ id, epoch, offset });
      if (!chance(0.15)) later.push(send);
      if (chance(0.1)) later.push(send);
    }
    while (later.length && chance(0.7)) later.splice(chance(0.2) ? Math.floor(random() * later.length) : 0, 1)[0]();
    if (chance(0.05)) server.socket.drop(pick([1006, 4200]));
    if (chance(0.02)) log.trim(name, Math.floor(random() * 4));
    const hasEvents = client.channels.get(name).position[0] !== "@"; // else nobody can notice
    if (hasEvents && chance(0.01)) log.forget(name);
    if (chance(0.4)) await pass(t, pick([10, 100, 300]), 100);
    if (chance(0.02)) await pass(t, 5000, 500);
  }
  for (const send of later) send();
  server.onEvents = onEvents;
  await pass(t, 40_000, 1000);
  if (client.state !== "connected") await pass(t, 40_000, 1000);
  server.socket.drop();
  await pass(t, 40_000, 1000);
  for (const name of names) {
    assert.deepEqual(due.get(name), [], `seed ${seed}: ${name} is owed, heard ${heard.get(name)}`);
  }
  assert.ok([...heard.values()].flat().length > 10, `seed ${seed}: most events arrive`);
  client.close();
}
