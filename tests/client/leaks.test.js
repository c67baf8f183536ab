// What is left of a thousand clients: no timer, listener or socket, and no object.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import "./dom.js";
import { FakeServer, json, until } from "./fake.js";
import { within } from "./time.js";
import { connect } from "../../realtime_kit/client/realtime.js";

const { createElement: h, StrictMode, useEffect } = await import("react");
const { createRoot } = await import("react-dom/client");
const { RealtimeProvider, useChannel, useConnectionState, useEvent, usePresence, useRealtime } =
  await import("../../realtime_kit/client/react/index.js");

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");

const OPTIONS = { configUrl: "http://app.test/realtime/config" };

function serverWithAll() {
  const server = new FakeServer();
  Object.assign(server.config, { userAuth: "/realtime/user-auth", events: "/realtime/events" });
  server.onEvents = () => json({ events: [], channels: { news: { position: "e:0", recovered: true } } });
  server.rosters["presence-room"] = { 1: {} };
  return server;
}

/** Counts listeners of the page, timers, and open sockets. */
function meter(t, servers) {
  const listeners = new Set(); // pairs of name and handler, a repetition once
  const { addEventListener: add, removeEventListener: remove } = globalThis;
  const find = (name, act) => [...listeners].find((one) => one.name === name && one.act === act);
  // Not by t.mock: it would hold on to all that it was called with.
  globalThis.addEventListener = (name, act, ...more) => {
    if (!find(name, act)) listeners.add({ name, act });
    add(name, act, ...more);
  };
  globalThis.removeEventListener = (name, act, ...more) => {
    listeners.delete(find(name, act));
    remove(name, act, ...more);
  };
  t.after(() => Object.assign(globalThis, { addEventListener: add, removeEventListener: remove }));
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const sockets = () => servers.flatMap((server) => server.sockets).filter(({ readyState }) => readyState < 3);
  return () => ({ listeners: listeners.size, timers: timers(), sockets: sockets().length });
}

const REST = { listeners: 0, timers: 0, sockets: 0 };
const soon = within(500, setImmediate); // what was ended is gone by then; what waits for a next try is not

async function assertRest(measure) {
  await soon(() => measure().timers === REST.timers, () => JSON.stringify(measure()));
  assert.deepEqual(measure(), REST);
}

/** Waits until all of them are garbage; what is still there fails. */
async function assertGone(refs) {
  assert.ok(refs.length);
  const left = () => refs.filter((ref) => ref.deref()).length;
  await until(() => (collect(), !left()), () => `${left()} of ${refs.length} are still held`);
}

test("a thousand clients, each closed at another point", async (t) => {
  const servers = [];
  const measure = meter(t, servers);
  await assertRest(measure);
  const refs = [];
  const reached = [
    () => true,
    (client, server) => server.requests.length,
    (client, server) => server.sockets.length,
    (client) => client.state === "connected",
    (client, server) => server.asked("auth").length,
    (client) => client.channels.get("presence-room").state === "subscribed",
    (client, server) => server.socket?.sent("pusher:signin").length,
    (client) => client.channels.get("news").position,
    (client, server) => server.socket?.readyState === 1 && !server.socket.drop(),
  ];
  async function one(number) {
    const server = serverWithAll();
    const { WebSocket, fetch } = server;
    servers.push(server);
    const client = connect({ ...OPTIONS, WebSocket, fetch });
    const channels = ["news", "private-a", "presence-room"].map((name) => client.subscribe(name));
    for (const channel of channels) {
      channel.on("*", () => client);
      channel.onError(() => client);
      channel.ready().catch(() => {});
      refs.push(new WeakRef(channel));
    }
    client.on("state", () => channels);
    refs.push(new WeakRef(client));
    const point = reached[number % reached.length];
    await until(() => point(client, server), () => `point ${number % reached.length}`);
    if (number === reached.length - 1) assert.notDeepEqual(measure(), REST, "the meter sees what there is");
    client.close();
  }
  for (let number = 0; number < 1000; number += 1) await one(number);
  await assertRest(measure);
  servers.length = 0;
  await assertGone(refs);
});

test("closed by whoever is told: nothing begins afterwards", async (t) => {
  const servers = [serverWithAll()];
  const measure = meter(t, servers);
  await assertRest(measure);
  const [server] = servers;
  const { WebSocket, fetch } = server;
  server.config.transports = ["socket", "second"];
  const open = (cfg, hooks) => {
    setImmediate(() => hooks.state("open", { socketId: null }));
    return { subscribe() {}, unsubscribe() {}, publish: null, close() {} };
  };
  const transports = { socket: () => ({ supported: () => false }), second: () => ({ supported: () => true, open }) };
  const fallen = connect({ ...OPTIONS, WebSocket, fetch, transports });
  fallen.on("state", () => fallen.close());
  server.onAuth = () => json({}, 503, { "Retry-After": "60" });
  await until(() => fallen.state === "closed");
  server.config.transports = ["socket"];
  const refused = connect({ ...OPTIONS, WebSocket, fetch });
  refused.on("error", () => refused.close());
  refused.subscribe("private-a");
  await until(() => refused.state === "closed");
  await assertRest(measure);
});

test("React: two hundred pages, each unmounted", async (t) => {
  const servers = [];
  const measure = meter(t, servers);
  const refs = [];
  function Page() {
    const client = useRealtime();
    useEffect(() => void (client && refs.push(new WeakRef(client))), [client]);
    useEvent(useChannel("news"), "published", () => {});
    usePresence("presence-room");
    return useConnectionState();
  }
  async function one() {
    const server = serverWithAll();
    const { WebSocket, fetch } = server;
    servers.push(server);
    const container = document.createElement("div");
    const root = createRoot(container);
    const options = { ...OPTIONS, WebSocket, fetch };
    root.render(h(StrictMode, null, h(RealtimeProvider, { options }, h(Page))));
    await until(() => container.textContent === "connected" && server.socket.subscribed.size === 2);
    root.unmount();
    await until(() => server.socket.readyState === 3);
    await assertRest(measure);
  }
  for (let number = 0; number < 200; number += 1) await one();
  await assertRest(measure);
  servers.length = 0;
  await one(); // React holds on to the last page
  servers.length = 0;
  const latest = refs.at(-1).deref();
  await assertGone(refs.filter((ref) => ref.deref() !== latest));
});
