// Every transition that docs/client.md draws, once for each of its causes; and a random walk.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RealtimeError } from "../../realtime_kit/client/realtime.js";
import * as drawn from "./diagram.js";
import { FakeServer, json, openPage, until } from "./fake.js";
import { pass, settle, stopTime } from "./time.js";
import { strays } from "./watch.js";

const EAGER_MS = 1000; // in which an attempt comes that the page asks for
const PATIENT_MS = 40_000;

/** A transport that does what the test says; `own.hooks` are those of its latest connection. */
function ownTransport() {
  const own = { hooks: null, isOpen: false };
  const open = (cfg, hooks) => {
    Object.assign(own, { hooks, isOpen: false });
    return { authorizes: true, subscribe() {}, unsubscribe() {}, publish: null, close() {} };
  };
  own.load = () => ({ supported: () => true, open });
  own.tell = (state, detail = {}) => {
    own.isOpen = state === "open";
    own.hooks.state(state, { error: new RealtimeError("connection_lost", "gone"), ...detail });
  };
  return own;
}

const silent = () => {};
const drop = (socket) => socket.drop();

async function stage(t, transport = "socket", config = {}) {
  const page = openPage(t);
  stopTime(t);
  const server = new FakeServer();
  const own = ownTransport();
  Object.assign(server.config, { transports: [transport], ...config });
  const client = server.connect(t, { transports: { own: own.load } });
  const steps = client.states;
  await until(() => own.hooks || client.state === "connected", "a connection");
  return { t, ...page, server, own, client, steps };
}

/** Lets time pass until the client is told of another state. */
async function next({ t, client, steps }, ms) {
  const { length } = steps;
  for (let left = ms; left > 0 && steps.length === length; left -= 50) await pass(t, 50);
  return client.state;
}

/** For so long that the next attempt is far off. */
async function unreachable(t, isOnLine) {
  const on = await stage(t);
  on.onLine(isOnLine);
  on.server.onConnect = drop;
  on.server.socket.drop();
  while (!(on.steps.at(-1).retryIn > 5 * EAGER_MS)) await next(on, PATIENT_MS);
  on.server.onConnect = silent;
  return on;
}

// How a client gets into each state.
const BEGIN = {
  async "[*]"(t) {
    stopTime(t);
    return { t, steps: [] };
  },
  async connecting(t) {
    const on = await stage(t);
    on.server.socket.drop();
    on.server.onConnect = silent;
    await next(on, PATIENT_MS);
    await until(() => on.server.socket.readyState === 1, "a socket that is open");
    return on;
  },
  connected: (t) => stage(t),
  waiting: (t) => unreachable(t, true),
  offline: (t) => unreachable(t, false),
  async failed(t) {
    const on = await stage(t);
    on.server.socket.drop(4001);
    return on;
  },
  async closed(t) {
    const on = await stage(t);
    on.client.close();
    return on;
  },
};

// After a failed attempt, so that the config is read anew: an older one may name what has moved.
const anew = {
  async connecting(t) {
    const on = await BEGIN.waiting(t);
    await next(on, PATIENT_MS);
    await until(() => on.server.socket.readyState === 1, "a socket that is open");
    return on;
  },
};

async function paused(t, isOnLine) {
  const on = await stage(t, "own");
  on.own.tell("open");
  on.onLine(isOnLine);
  on.own.tell("paused", { retryIn: 700 });
  return on;
}

const resuming = {
  waiting: (t) => paused(t, true),
  offline: (t) => paused(t, false),
};

const close = ({ client }) => client.close();
const refuse = ({ server }) => server.socket.drop(4001);
const lose = ({ server }) => server.socket.drop();
const hide = ({ fire }) => fire("pagehide");
const wait = (on) => next(on, PATIENT_MS);
function loseTheNetwork({ server, onLine }) {
  onLine(false);
  server.socket.drop();
}
const resume = ({ own }) => own.tell("open");
const giveUp = ({ own }) => own.tell("lost", { retry: false });
const online = (on) => {
  on.onLine(true);
  on.fire("online");
  return next(on, EAGER_MS);
};
const still = (isOnline) => ({ own, onLine }) => {
  onLine(isOnline);
  own.tell("paused", { retryIn: 700 });
};

const CLIENT = {
  "[*] --> connecting": {
    "connect()": (on) => {
      on.client = new FakeServer().connect(on.t);
      on.steps.push({ state: on.client.state, previous: "[*]" });
    },
  },
  "connecting --> connected": { handshake: ({ server }) => server.socket.establish() },
  "connecting --> waiting": { "no luck": lose },
  "connecting --> offline": { "no luck, and no network": loseTheNetwork, "page put away": hide },
  "connecting --> failed": { "refused for good": [anew, refuse] },
  "connecting --> closed": { "close()": close },
  "connected --> waiting": { lost: lose },
  "connected --> offline": { "lost, and no network": loseTheNetwork, "page put away": hide },
  "connected --> failed": { "refused for good": refuse },
  "connected --> closed": { "close()": close },
  "waiting --> connecting": {
    "the wait is over": wait,
    online,
    "page seen again": (on) => {
      on.show("visible");
      return next(on, EAGER_MS);
    },
  },
  "waiting --> connected": { resumed: [resuming, resume] },
  "waiting --> offline": { "page put away": hide, "still lost, and no network": [resuming, still(false)] },
  "waiting --> failed": { "refused for good": [resuming, giveUp] },
  "waiting --> closed": { "close()": close },
  "offline --> connecting": {
    "the wait is over": wait,
    online,
    "page back": async (on) => {
      hide(on);
      assert.equal(await next(on, PATIENT_MS), "offline", "put away, it does not wait for anything");
      on.fire("pageshow", { persisted: true });
      await next(on, EAGER_MS);
    },
  },
  "offline --> connected": { resumed: [resuming, resume] },
  "offline --> waiting": { "still lost, with a network": [resuming, still(true)] },
  "offline --> failed": { "refused for good": [resuming, giveUp] },
  "offline --> closed": { "close()": close },
  "failed --> closed": { "close()": close },
  "closed --> [*]": {},
};

const causes = (table) => Object.entries(table).map(([way, of]) => ({ way, causes: Object.keys(of) }));

test("the diagram of the client is what is played here", () => {
  assert.deepEqual(drawn.client, causes(CLIENT));
});

for (const [way, of] of Object.entries(CLIENT)) {
  const [from, to] = way.split(" --> ");
  for (const [cause, play] of Object.entries(of)) {
    test(`${way} : ${cause}`, async (t) => {
      const [begin, act] = Array.isArray(play) ? play : [BEGIN, play];
      const on = await begin[from](t);
      if (on.client) assert.equal(on.client.state, from);
      const { length } = on.steps;
      await act(on);
      const told = on.steps.slice(length).map(({ previous, state }) => [previous, state]);
      assert.deepEqual(told, [[from, to]]);
      assert.equal(on.client.state, to);
      on.client.close();
      await settle(); // within the time that the test has stopped
    });
  }
}

test("closed --> [*]: nothing comes after it", async (t) => {
  const on = await BEGIN.closed(t);
  const { length } = on.steps;
  on.client.close();
  for (const name of ["online", "pagehide", "visibilitychange"]) on.fire(name);
  on.fire("pageshow", { persisted: true });
  await pass(t, PATIENT_MS);
  assert.equal(on.steps.length, length);
  assert.equal(on.server.sockets.length, 1);
});

// Channels

async function withChannel(t, state) {
  const on = await stage(t);
  const { server, client } = on;
  const isAccepted = state === "subscribed";
  if (!isAccepted) server.onSubscribe = silent;
  if (state === "denied") server.grant = () => ({ status: 403, error: "denied" });
  on.channel = client.subscribe("private-a");
  on.channel.onError(silent);
  await until(() => (state === "subscribing" ? server.socket.sent("pusher:subscribe")[0] : on.channel.state === state), state);
  return on;
}

const refuseChannel = ({ server }) => {
  server.socket.event("private-a", "pusher:subscription_error", { status: 403, error: "no more" });
};
const leave = ({ channel }) => channel.unsubscribe();

const CHANNEL = {
  "[*] --> subscribing": {
    "subscribe()": (on) => (on.channel = on.client.subscribe("b")),
  },
  "subscribing --> subscribed": {
    accepted: ({ server }) => server.socket.event("private-a", "pusher_internal:subscription_succeeded", {}),
  },
  "subscribing --> denied": { refused: refuseChannel, "client failed": refuse },
  "subscribing --> unsubscribed": { "unsubscribe()": leave, "close()": close },
  "subscribed --> subscribing": { "connection lost": lose },
  "subscribed --> denied": { refused: refuseChannel },
  "subscribed --> unsubscribed": { "unsubscribe()": leave, "close()": close },
  "denied --> subscribing": {
    "subscribe() again": ({ client, channel }) => assert.equal(client.subscribe("private-a"), channel),
    "a connection that needs no history": null, // below
  },
  "denied --> unsubscribed": { "unsubscribe()": leave, "close()": close },
  "unsubscribed --> [*]": {},
};

test("the diagram of a channel is what is played here", () => {
  assert.deepEqual(drawn.channel, causes(CHANNEL));
});

for (const [way, of] of Object.entries(CHANNEL)) {
  const [from, to] = way.split(" --> ");
  for (const [cause, act] of Object.entries(of).filter(([, act]) => act)) {
    test(`channel: ${way} : ${cause}`, async (t) => {
      const on = from === "[*]" ? await stage(t) : await withChannel(t, from);
      await act(on);
      assert.equal(on.channel.state, to);
    });
  }
}

test("channel: denied --> subscribing : a connection that needs no history", async (t) => {
  const on = await stage(t, "own", { events: "/realtime/events" });
  const { client, own } = on;
  own.tell("open");
  const channel = client.subscribe("a");
  channel.onError(silent);
  own.hooks.denied("a", new RealtimeError("no_history", "no history", { channel: "a" }));
  assert.equal(channel.state, "denied");
  own.tell("lost");
  own.hooks = null;
  await wait(on);
  await until(() => own.hooks, "another connection");
  assert.equal(channel.state, "denied");
  own.tell("open");
  assert.equal(channel.state, "subscribing");
});

test("channel: unsubscribed --> [*]: another subscription is another object", async (t) => {
  const { channel, client, server } = await withChannel(t, "subscribed");
  channel.unsubscribe();
  const other = client.subscribe("private-a");
  assert.notEqual(other, channel);
  await until(() => other.state === "subscribed");
  server.socket.drop();
  client.close();
  assert.equal(channel.state, "unsubscribed");
});

// In whatever order things come

test("states are told in the order in which they came, also where a listener causes the next", async (t) => {
  const { server, client } = await stage(t);
  const told = [];
  client.on("error", () => client.close());
  client.on("state", (state) => told.push(state));
  server.socket.drop(4001);
  assert.deepEqual(told, ["failed", "closed"]);
  const other = server.connect(t);
  const heard = [];
  other.on("state", (state) => state === "connected" && other.close());
  other.on("state", (state) => heard.push(state));
  await pass(t, 100);
  assert.deepEqual(heard, ["connected", "closed"]);
});

/** Numbers in [0, 1), the same for the same seed. */
function draws(seed) {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

const NAMES = ["a", "private-b", "presence-c", "private-encrypted-d"];
const CODES = [1000, 1006, 1011, 4100, 4200, 4201];

/** What can happen; each is as likely as the others. */
function events({ t, fire, show, onLine, server, own, client, pick, draw }) {
  const { socket } = server;
  const name = pick(NAMES);
  const channel = client.channels.get(name);
  const isRare = draw() < 0.05;
  return [
    () => client.subscribe(name).onError(silent),
    () => channel?.unsubscribe(),
    () => socket?.drop(pick(CODES)),
    () => isRare && socket?.drop(4001),
    () => isRare && client.close(),
    () => socket?.establish(),
    () => socket?.event(name, "pusher_internal:subscription_succeeded", {}),
    () => channel?.state.startsWith("subscrib") && socket?.event(name, "pusher:subscription_error", { status: 403 }),
    () => own.hooks && own.tell("open"),
    () => own.isOpen && own.tell("paused", { retryIn: 700 }),
    () => own.hooks && own.tell("lost"),
    () => own.hooks && isRare && own.tell("lost", { retry: false }),
    () => (server.onConnect = pick([silent, drop, (opened) => opened.establish()])),
    () => (server.config.transports = pick([["own"], ["socket"], ["own", "socket"]])),
    () => (server.onConfig = pick([() => json({}, 503), () => json(server.config)])),
    () => (server.grant = pick([() => ({ status: 403 }), () => ({ auth: "x", shared_secret: "s" })])),
    () => onLine(draw() < 0.5),
    () => fire(pick(["online", "offline", "pagehide"])),
    () => fire("pageshow", { persisted: draw() < 0.5 }),
    () => show(pick(["visible", "hidden"])),
    () => settle(),
    () => pass(t, pick([10, 1000, 6000])),
    () => pass(t, PATIENT_MS, 1000),
  ];
}

for (let seed = 1; seed <= 40; seed += 1) {
  test(`no walk leaves the diagrams (seed ${seed})`, async (t) => {
    const on = await stage(t);
    on.draw = draws(seed);
    on.pick = (choices) => choices[Math.floor(on.draw() * choices.length)];
    for (let step = 0; step < 150; step += 1) {
      if (on.client.state === "closed" || (on.client.state === "failed" && on.draw() < 0.2)) {
        on.client.close();
        Object.assign(on.own, { hooks: null, isOpen: false });
        on.client = on.server.connect(t, { transports: { own: on.own.load }, decrypt: () => "{}" });
        on.client.on("state", () => on.draw() < 0.01 && on.client.close());
      }
      await on.pick(events(on))();
      assert.equal(on.client.states.at(-1)?.state ?? "connecting", on.client.state);
    }
    assert.deepEqual([...strays.keys()], []);
  });
}
