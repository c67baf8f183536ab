// A server, a network and a user, interleaved at random: in the end the view is the server's state.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Stream } from "../../realtime_kit/client/events.js";
import { optimistic, OptimisticError } from "../../realtime_kit/client/optimistic.js";
import { settle } from "./time.js";

const { SEED, RUNS = "50" } = process.env;
const STEPS = 40;

/** Mulberry32. */
function generator(seed) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n) => Math.floor(next() * n);
  return { next, below, pick: (list) => list[below(list.length)], chance: (p) => next() < p };
}

/**
 * Two ways of telling what happened. `changes`: events that must not be applied twice, with a place in
 * a history, so that snapshots fit; `values`: events that say what is, without one.
 */
const KINDS = {
  changes: {
    initial: [],
    commit: (list, item) => [...list, item],
    reduce: (list, item) => [...list, item],
    hasPositions: true,
  },
  values: {
    initial: {},
    commit: (map, { key, value }) => ({ ...map, [key]: value }),
    reduce: (map, { key, value }) => ({ ...map, [key]: value }),
    hasPositions: false,
  },
};

class World {
  server; // its state
  committed = new Set(); // ids of mutations: the server tells repetitions
  events = []; // on their way to the page, in order
  requests = []; // on their way to the server, and back
  snapshots = [];
  offset = 0;
  outcomes = new Map(); // mutation's item → how its promise ended

  constructor(kind, random) {
    Object.assign(this, { kind, random, server: kind.initial });
    this.channel = new Stream();
    this.store = optimistic({
      initial: kind.initial,
      position: kind.hasPositions ? "e:0" : null,
      channel: this.channel,
      reduce: { done: kind.reduce },
      reload: ({ signal }) => new Promise((resolve, reject) => {
        this.snapshots.push({ signal, resolve, reject });
      }),
      retries: 1,
      eventWithin: kind.eventWithin,
      onError: () => {},
    });
  }

  // What can happen

  mutate() {
    const item = { key: this.random.below(3), value: this.random.below(1e9) };
    const send = ({ mutation }) => new Promise((answer, fail) => {
      this.requests.push({ mutation, item, answer, fail });
    });
    const promise = this.store.mutate((state) => this.kind.commit(state, item), send);
    this.outcomes.set(item, "none");
    promise.then(
      ({ by }) => this.outcomes.set(item, by),
      ({ code }) => this.outcomes.set(item, code),
    );
  }

  somebodyElse() {
    this.commit({ key: this.random.below(3), value: this.random.below(1e9) });
  }

  commit(item, mutation) {
    if (mutation && this.committed.has(mutation)) return;
    this.committed.add(mutation);
    this.server = this.kind.commit(this.server, item);
    this.offset += 1;
    const place = this.kind.hasPositions ? { epoch: "e", offset: this.offset } : {};
    this.events.push([item, { id: `${this.offset}`, ...(mutation && { mutation }), ...place }]);
  }

  arrive() {
    const request = this.random.pick(this.requests.filter(({ isThere }) => !isThere));
    if (!request) return;
    request.isThere = true;
    request.isRefused = !this.committed.has(request.mutation) && this.random.chance(0.25);
    if (!request.isRefused) this.commit(request.item, request.mutation);
  }

  answer() {
    const request = this.random.pick(this.requests.filter(({ isThere }) => isThere));
    if (!request) return;
    this.requests.splice(this.requests.indexOf(request), 1);
    const body = JSON.stringify(request.item);
    request.answer(new Response(body, { status: request.isRefused ? 409 : 200 }));
  }

  /** Before or after it came to the server. */
  breakRequest() {
    const request = this.random.pick(this.requests);
    if (!request) return;
    this.requests.splice(this.requests.indexOf(request), 1);
    request.fail(new OptimisticError("network", "gone"));
  }

  deliver() {
    const [item, meta] = this.events.shift() ?? [];
    if (item) this.channel.receive("done", item, meta);
    if (item && this.random.chance(0.2)) this.channel.receive("done", item, meta);
  }

  /** The connection is lost, and what was on its way; the page is told of the gap. */
  lose() {
    this.events = [];
    this.store.reload();
  }

  snapshot(fails = this.random.chance(0.2)) {
    const asked = this.snapshots.shift();
    if (!asked) return;
    if (fails) asked.reject(new Error("down"));
    else asked.read = { state: this.server, ...(this.kind.hasPositions && { position: `e:${this.offset}` }) };
    if (asked.read) (this.reads ??= []).push(asked);
  }

  read() {
    const asked = this.reads?.shift();
    asked?.resolve(asked.read);
  }
}

const STEP = ["mutate", "mutate", "somebodyElse", "arrive", "arrive", "answer", "answer", "breakRequest",
  "deliver", "deliver", "deliver", "lose", "snapshot", "read", "wait"];

async function run(t, kind, seed, allowed = () => true) {
  const random = generator(seed);
  const world = new World(kind, random);
  const steps = STEP.filter(allowed);
  try {
    for (let step = 0; step < STEPS; step += 1) {
      const name = random.pick(steps);
      if (name === "wait") t.mock.timers.tick(random.below(8000));
      else world[name]();
      if (random.chance(0.7)) await settle();
    }
    // Then nothing fails any more, and everything comes to its end.
    for (let round = 0; round < 400; round += 1) {
      world.deliver();
      world.arrive();
      world.answer();
      world.snapshot(false);
      world.read();
      t.mock.timers.tick(1000);
      await settle();
      const isOver = !world.store.pending.length && !world.events.length && !world.requests.length;
      if (isOver && !world.snapshots.length && !world.reads?.length && round > 50) break;
    }
    assert.deepEqual(world.store.pending, []);
    assert.deepEqual(world.store.server, world.server);
    assert.deepEqual(world.store.state, world.server);
    for (const [item, outcome] of world.outcomes) assert.notEqual(outcome, "none", JSON.stringify(item));
    return world;
  } finally {
    world.store.close();
  }
}

async function explore(t, kind, allowed) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const seeds = SEED ? [Number(SEED)] : Array.from({ length: Number(RUNS) }, (_, index) => index + 1);
  const seen = {};
  for (const seed of seeds) {
    const { outcomes } = await run(t, kind, seed, allowed).catch((error) => {
      error.message = `SEED=${seed}: ${error.message}`;
      throw error;
    });
    for (const outcome of outcomes.values()) seen[outcome] = (seen[outcome] ?? 0) + 1;
  }
  return seen;
}

test("changes with positions: every order ends in the server's state", async (t) => {
  const seen = await explore(t, KINDS.changes);
  if (!SEED) assert.deepEqual(Object.keys(seen).sort(), ["answer", "event", "network", "refused"]);
});

test("values without positions: every order ends in the server's state", async (t) => {
  const seen = await explore(t, KINDS.values);
  if (!SEED) assert.deepEqual(Object.keys(seen).sort(), ["answer", "event", "network", "refused"]);
});

test("changes without positions: as long as no event is lost, none counts twice", async (t) => {
  const kind = { ...KINDS.changes, hasPositions: false, eventWithin: 2 ** 30 };
  await explore(t, kind, (name) => !["lose", "wait", "snapshot", "read"].includes(name));
});
