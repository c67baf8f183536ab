// No gaps: against a Flask application with history over the embedded server, through lines that fail.
import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../realtime_kit/client/realtime.js";
import { APPLICATION, call } from "./application.js";
import { proxy } from "./line.js";
import { within } from "./time.js";

const { SEED = "1" } = process.env;
const until = within(30_000);
const TRANSPORTS = ["socket", "sse", "poll"];

const trigger = (channel, data, by, more) => call("/do/trigger", { channels: channel, name: "x", data, ...more }, by);

/** Small draws of the back-off: the wait before another attempt is about its floor. */
function hurry(t) {
  let draw = 0;
  t.mock.method(Math, "random", () => (draw = (draw + 0.013) % 0.1));
}

/** Both ways to the application go through lines of their own. */
async function lines(t) {
  hurry(t);
  const config = await (await fetch(`${APPLICATION}/realtime/config`)).json();
  const app = await proxy(t, new URL(APPLICATION).port);
  const socket = await proxy(t, config.client.socket.port);
  const all = [app, socket];
  class Proxied extends WebSocket {
    constructor(url) {
      super(url.replace(`:${config.client.socket.port}/`, `:${socket.port}/`));
    }
  }
  return {
    app,
    socket,
    cut: () => all.forEach((line) => line.cut()),
    block: (value) => all.forEach((line) => line.block(value)),
    url: `http://127.0.0.1:${app.port}`,
    WebSocket: Proxied,
  };
}

function client(t, line, options = {}) {
  const made = connect({
    configUrl: `${line.url}/realtime/config`,
    headers: () => ({ "X-User": "ada" }),
    WebSocket: line.WebSocket,
    ...options,
  });
  t.after(() => made.close());
  const states = [];
  made.on("state", (state) => states.push(state));
  made.on("error", () => {});
  return Object.assign(made, { states });
}

function listen(made, name, from) {
  const channel = made.subscribe(name, from);
  const heard = [];
  const gaps = [];
  channel.on("x", (data) => heard.push(data));
  channel.onGap((gap) => gaps.push(gap));
  return { channel, heard, gaps };
}

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
let names = 0;
const fresh = (kind) => `${kind}-${process.pid}x${(names += 1)}`;

for (const transport of TRANSPORTS) {
  test(`${transport}: what is triggered while the client is away arrives, in order and once`, async (t) => {
    const line = await lines(t);
    const ada = client(t, line, { order: [transport] });
    const open = listen(ada, fresh("kept"));
    const orders = listen(ada, fresh("private-kept"));
    await Promise.all([open.channel.ready(), orders.channel.ready()]);
    for (const n of range(1, 3)) for (const { channel } of [open, orders]) await trigger(channel.name, n);
    await until(() => open.heard.length === 3 && orders.heard.length === 3);
    line.block(true);
    await until(() => ada.state === "waiting" || ada.state === "connecting");
    for (const n of range(4, 9)) for (const { channel } of [open, orders]) await trigger(channel.name, n);
    line.block(false);
    await until(() => open.heard.length >= 9 && orders.heard.length >= 9, () => `${open.heard} / ${orders.heard}`);
    for (const n of range(10, 12)) for (const { channel } of [open, orders]) await trigger(channel.name, n);
    await until(() => open.heard.length >= 12 && orders.heard.length >= 12);
    for (const { heard, gaps } of [open, orders]) assert.deepEqual([heard, gaps], [range(1, 12), []]);
  });

  test(`${transport}: what was triggered since the page was rendered arrives`, async (t) => {
    const name = fresh("kept");
    await trigger(name, "before");
    const { position } = await call("/position", { channel: name });
    for (const n of [1, 2]) await trigger(name, n);
    const ada = client(t, await lines(t), { order: [transport] });
    const { heard, channel } = listen(ada, name, { position });
    await channel.ready();
    await until(() => heard.length === 2);
    await trigger(name, 3);
    await until(() => heard.length === 3);
    assert.deepEqual(heard, [1, 2, 3]);
  });

  test(`${transport}: away for longer than history reaches is told, and it goes on`, async (t) => {
    const line = await lines(t);
    const ada = client(t, line, { order: [transport] });
    const { channel, heard, gaps } = listen(ada, fresh("short"));
    await channel.ready();
    await trigger(channel.name, 1);
    await until(() => heard.length === 1);
    line.block(true);
    await until(() => ada.state !== "connected");
    for (const n of range(2, 10)) await trigger(channel.name, n);
    line.block(false);
    await until(() => gaps.length);
    await until(() => channel.state === "subscribed");
    await trigger(channel.name, 11);
    await until(() => heard.length === 2);
    assert.deepEqual(heard, [1, 11]);
    const { position } = gaps[0];
    assert.deepEqual(gaps, [{ channel: channel.name, position }]);
    assert.match(position, /:10$/);
  });

  test(`${transport}: what a page has caused stays out of it, also after it came back`, async (t) => {
    const line = await lines(t);
    const ada = client(t, line, { order: [transport] });
    const { channel, heard } = listen(ada, fresh("kept"));
    await channel.ready();
    const mine = { fetch: (url, init) => ada.fetch(url.replace(APPLICATION, line.url), init) };
    await trigger(channel.name, "mine", mine, { to_others: true });
    await trigger(channel.name, 1);
    await until(() => heard.length === 1);
    await trigger(channel.name, "mine, too", mine, { to_others: true });
    line.block(true);
    await until(() => ada.state !== "connected");
    await trigger(channel.name, 2);
    line.block(false);
    await until(() => heard.length === 2);
    await trigger(channel.name, 3);
    await until(() => heard.length === 3);
    assert.deepEqual(heard, [1, 2, 3]);
  });

  test(`${transport}: the line is cut again and again (seed ${SEED})`, async (t) => {
    const line = await lines(t);
    const ada = client(t, line, { order: [transport] });
    const all = range(1, 4).map(() => listen(ada, fresh("kept")));
    await Promise.all(all.map(({ channel }) => channel.ready()));
    let state = Number(SEED);
    const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    for (const n of range(1, 100)) {
      await trigger(all.map(({ channel }) => channel.name), n);
      if (random() < 0.1) line.cut();
      if (random() < 0.03) await call("/restart");
    }
    await until(() => all.every(({ heard }) => heard.length >= 100), () => all.map(({ heard }) => `${heard}`).join("\n"));
    for (const { heard, gaps } of all) assert.deepEqual([heard, gaps], [range(1, 100), []]);
  });
}

test("the socket server is away: sse takes over, then poll; nothing is lost, and the socket comes back", async (t) => {
  const line = await lines(t);
  let isHeld = false;
  const withoutStreams = (url, init) => {
    const isStream = init?.headers?.get?.("Accept") === "text/event-stream";
    return isHeld && isStream ? Promise.reject(new TypeError("held back")) : fetch(url, init);
  };
  class Counted extends line.WebSocket {
    static open = 0;
    constructor(url) {
      super(url);
      this.on("error", () => {}).on("open", () => {
        Counted.open += 1;
        this.on("close", () => (Counted.open -= 1));
      });
    }
  }
  const ada = client(t, line, { fetch: withoutStreams, WebSocket: Counted });
  const { channel, heard, gaps } = listen(ada, fresh("kept"));
  const plain = listen(ada, fresh("private-plain"));
  await Promise.all([channel.ready(), plain.channel.ready()]);
  let n = 0;
  const goes = async () => {
    await trigger(channel.name, (n += 1));
    await until(() => heard.length === n, () => `${n}: ${heard}`);
  };
  await goes();
  const first = ada.socketId;
  line.socket.block(true);
  await goes();
  const second = ada.socketId;
  assert.notEqual(second, first);
  await until(() => plain.channel.state === "denied");
  assert.equal(plain.channel.error.code, "no_history");
  isHeld = true;
  line.app.cut();
  await goes();
  assert.notEqual(ada.socketId, second);
  line.socket.block(false);
  await until(() => Counted.open === 1 && ada.states.filter((state) => state === "connected").length === 4, () => `${ada.states}`);
  await goes();
  await until(() => plain.channel.state === "subscribed");
  await trigger(plain.channel.name, 1);
  await until(() => plain.heard.length === 1);
  assert.deepEqual([heard, gaps, Counted.open], [range(1, n), [], 1]);
});

test("a channel without history on the same connection is as it ever was", async (t) => {
  const ada = client(t, await lines(t), { order: ["socket"] });
  const kept = listen(ada, fresh("kept"));
  const other = listen(ada, fresh("private-plain"));
  await Promise.all([kept.channel.ready(), other.channel.ready()]);
  for (const { channel } of [kept, other]) await trigger(channel.name, 1);
  await until(() => kept.heard.length + other.heard.length === 2);
  assert.deepEqual([kept.channel.position !== null, other.channel.position], [true, null]);
});

test("rows of a database arrive through sse and poll, with no provider at work", async (t) => {
  for (const transport of ["sse", "poll"]) {
    const line = await lines(t);
    const ada = client(t, line, { order: [transport] });
    const { channel, heard } = listen(ada, fresh("notes"));
    await channel.ready();
    await call("/note", { box: channel.name, text: "one" });
    await until(() => heard.length === 1);
    line.block(true);
    await until(() => ada.state !== "connected");
    for (const text of ["two", "three"]) await call("/note", { box: channel.name, text });
    line.block(false);
    await until(() => heard.length === 3);
    assert.deepEqual(heard, ["one", "two", "three"], transport);
    assert.match(channel.position, /^~/);
  }
});
