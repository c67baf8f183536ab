import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { decode, Emitter, sleep, Stream, unwrap } from "../../realtime_kit/client/events.js";

test("on returns what takes the handler off, and only that one", () => {
  const emitter = new Emitter();
  const heard = [];
  const listen = (value) => heard.push(value);
  const off = emitter.on("a", listen);
  emitter.on("a", listen);
  assert.equal(emitter.emit("a", 1), true);
  assert.equal(off(), undefined);
  off();
  emitter.emit("a", 2);
  assert.deepEqual(heard, [1, 1, 2]);
  assert.equal(emitter.emit("b", 3), false);
});

test("* hears every event", () => {
  const emitter = new Emitter();
  const heard = [];
  emitter.on("*", (value) => heard.push(value));
  assert.equal(emitter.emit("a", 1), true);
  assert.deepEqual(heard, [1]);
});

test("handlers may put on and take off others while they run", () => {
  const emitter = new Emitter();
  const heard = [];
  emitter.on("a", () => {
    off();
    emitter.on("a", () => heard.push("late"));
  });
  const off = emitter.on("a", () => heard.push("taken off"));
  emitter.emit("a");
  assert.deepEqual(heard, []);
});

test("a handler that throws is reported, and the others run", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const emitter = new Emitter();
  const heard = [];
  emitter.on("a", () => { throw new Error("mine"); });
  emitter.on("a", () => heard.push("second"));
  assert.equal(emitter.emit("a"), true);
  assert.deepEqual(heard, ["second"]);
  assert.throws(() => t.mock.timers.tick(1), /mine/);
});

test("a handler that throws goes to the page's reportError", (t) => {
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  t.after(() => delete globalThis.reportError);
  const emitter = new Emitter();
  emitter.on("a", () => { throw new Error("mine"); });
  emitter.emit("a");
  assert.deepEqual(reported, ["mine"]);
});

test("ids that ride in the data become meta, and the data is what was triggered", () => {
  const _rk = { id: "e1", o: 7, e: "x", m: "m1" };
  const meta = { id: "e1", offset: 7, epoch: "x", mutation: "m1" };
  assert.deepEqual(unwrap({ a: 1, _rk }), { data: { a: 1 }, meta });
  assert.deepEqual(unwrap({ _rk, d: [1, 2] }), { data: [1, 2], meta });
  assert.deepEqual(unwrap({ _rk, d: null }), { data: null, meta });
  assert.deepEqual(unwrap({ _rk, d: 1, a: 2 }), { data: { d: 1, a: 2 }, meta });
  assert.deepEqual(unwrap({ _rk }), { data: {}, meta });
  assert.deepEqual(unwrap({ _rk: { id: "e2" }, a: 1 }, { userId: "7" }), {
    data: { a: 1 },
    meta: { id: "e2", userId: "7" },
  });
});

test("data without ids stays as it is", () => {
  for (const data of [null, undefined, "text", 0, [], { d: 1 }, { _rk: null }]) {
    assert.equal(unwrap(data).data, data);
  }
});

test("each id is delivered once, out of a bounded memory; the position follows", () => {
  const stream = new Stream();
  const heard = [];
  stream.on("a", (data, meta) => heard.push([data, meta.id]));
  stream.receive("a", 1, { id: "x", epoch: "e", offset: 3 });
  stream.receive("a", 2, { id: "x" });
  stream.receive("a", 3);
  stream.receive("a", 4);
  assert.deepEqual(heard, [[1, "x"], [3, undefined], [4, undefined]]);
  assert.equal(stream.position, "e:3");
  for (let n = 0; n < 500; n += 1) stream.receive("b", n, { id: `n${n}` });
  stream.receive("a", 5, { id: "x" });
  assert.deepEqual(heard.at(-1), [5, "x"]);
});

test("data strings are parsed once and fall back to the text", () => {
  assert.deepEqual(decode('{"a":"{\\"b\\":1}"}'), { a: '{"b":1}' });
  assert.equal(decode("plain"), "plain");
  assert.equal(decode(""), "");
  assert.deepEqual(decode({ a: 1 }), { a: 1 });
  assert.equal(decode(undefined), undefined);
});

test("sleep leaves nothing on a signal that lives on, and ends with it", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const abort = new AbortController();
  const { signal } = abort;
  const left = () => getEventListeners(signal, "abort").length;
  const over = sleep(1000, signal);
  assert.equal(left(), 1);
  t.mock.timers.tick(1000);
  await over;
  assert.equal(left(), 0);
  const ended = sleep(1000, signal);
  abort.abort();
  await ended;
  assert.equal(left(), 0);
});
