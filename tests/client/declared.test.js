// The declarations are written by hand: what they name is there at run time, and the other way round.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import * as backoffModule from "../../realtime_kit/client/backoff.js";
import * as optimisticModule from "../../realtime_kit/client/optimistic.js";
import * as reactModule from "../../realtime_kit/client/react/index.js";
import * as realtimeModule from "../../realtime_kit/client/realtime.js";
import * as ablyModule from "../../realtime_kit/client/transports/ably.js";
import * as pollModule from "../../realtime_kit/client/transports/poll.js";
import * as sseModule from "../../realtime_kit/client/transports/sse.js";
import * as socketModule from "../../realtime_kit/client/transports/socket.js";
import { FakeServer } from "./fake.js";

function declarations(path) {
  const file = fileURLToPath(new URL(`../../realtime_kit/client/${path}`, import.meta.url));
  const program = ts.createProgram([file], { noLib: true, module: ts.ModuleKind.ESNext });
  const checker = program.getTypeChecker();
  const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)));
  const values = exported.filter(({ flags }) => flags & ts.SymbolFlags.Value).map(({ name }) => name);
  const members = (name) => {
    const type = checker.getDeclaredTypeOfSymbol(exported.find((symbol) => symbol.name === name));
    return type.getProperties().map((symbol) => symbol.name);
  };
  return { values: values.sort(), members };
}

test("each module exports what its declarations say", () => {
  for (const [path, module] of [
    ["realtime.d.ts", realtimeModule],
    ["backoff.d.ts", backoffModule],
    ["optimistic.d.ts", optimisticModule],
    ["react/index.d.ts", reactModule],
    ["transports/socket.d.ts", socketModule],
    ["transports/ably.d.ts", ablyModule],
    ["transports/poll.d.ts", pollModule],
    ["transports/sse.d.ts", sseModule],
  ]) {
    assert.deepEqual(declarations(path).values, Object.keys(module).sort(), path);
  }
});

test("optimistic updates have every declared member", () => {
  const store = new optimisticModule.Optimistic({ initial: 0 });
  const declared = declarations("optimistic.d.ts").members("Optimistic");
  assert.ok(declared.length > 5);
  for (const member of declared) assert.ok(member in store, member);
});

test("the objects have every declared member", async (t) => {
  const { members } = declarations("realtime.d.ts");
  const client = new FakeServer().connect(t);
  const presence = client.subscribe("presence-a");
  for (const [name, object] of [
    ["RealtimeClient", client],
    ["Channel", client.subscribe("a")],
    ["PresenceChannel", presence],
    ["Members", presence.members],
    ["User", client.user],
    ["Watchlist", client.watchlist],
  ]) {
    const declared = members(name);
    assert.ok(declared.length > 0, name);
    for (const member of declared) assert.ok(member in object, `${name}.${member}`);
  }
});

test("connections have every declared member of a transport", (t) => {
  const { members } = declarations("transports/transport.d.ts");
  const { config, WebSocket } = new FakeServer();
  const { signal } = new AbortController();
  const client = { ...config.client, ably: { script: "https://cdn.test/ably.js" } };
  const cfg = { ...config, client, WebSocket, signal, Ably: { Realtime: class {} }, sockets: [] };
  const names = [socketModule, ablyModule, sseModule, pollModule].map((module) => {
    const connection = module.open(cfg, { state() {}, wanted: () => [] });
    t.after(() => connection.close());
    return Object.keys(connection);
  });
  const declared = members("Transport").sort();
  assert.deepEqual([...names[0], "authorizes", "inOrder"].sort(), declared);
  assert.deepEqual([...names[1], "inOrder"].sort(), declared);
  for (const each of names.slice(2)) assert.deepEqual([...each, "signIn"].sort(), declared);
});
