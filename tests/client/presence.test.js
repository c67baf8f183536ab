import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeServer, until } from "./fake.js";

const ROOM = "presence-room";
const ada = { id: "1", info: { name: "Ada" } };
const bob = { id: "2", info: { name: "Bob" } };
const cyd = { id: "3", info: { name: "Cyd" } };
const rosterOf = (...members) => Object.fromEntries(members.map(({ id, info }) => [id, info]));

/** On a room with Ada (us) and Bob; `told` is what its members told since the first roster. */
async function room(t) {
  const server = new FakeServer();
  server.rosters[ROOM] = rosterOf(ada, bob);
  const client = await server.connected(t);
  const channel = client.subscribe(ROOM);
  const told = [];
  for (const event of ["joined", "left"]) channel.members.on(event, ({ id }) => told.push(`${event} ${id}`));
  channel.members.on("change", (members) => told.push(`change ${[...members.keys()]}`));
  await channel.ready();
  return { server, client, channel, told, members: channel.members };
}

test("the roster: a map of members, and which of them is you", async (t) => {
  const { members, told } = await room(t);
  assert.deepEqual([...members], [["1", ada], ["2", bob]]);
  assert.deepEqual(members.get("2"), bob);
  assert.equal(members.count, 2);
  assert.deepEqual(members.me, ada);
  assert.deepEqual(told, ["change 1,2"], "nobody has joined: they were there");
});

test("the roster is there when the subscription is told", async (t) => {
  const server = new FakeServer();
  server.rosters[ROOM] = rosterOf(ada, bob);
  const client = await server.connected(t);
  const channel = client.subscribe(ROOM);
  const seen = [];
  channel.on("pusher:subscription_succeeded", () => seen.push(channel.state, channel.members.count));
  channel.members.on("change", () => seen.push(channel.state));
  await channel.ready();
  assert.deepEqual(seen, ["subscribed", "subscribed", 2]);
});

test("joining and leaving", async (t) => {
  const { server, members, told } = await room(t);
  server.socket.event(ROOM, "pusher_internal:member_added", { user_id: 3, user_info: cyd.info });
  assert.deepEqual(members.get("3"), cyd, "numbers are ids too");
  server.socket.event(ROOM, "pusher_internal:member_removed", { user_id: "2" });
  server.socket.event(ROOM, "pusher_internal:member_removed", { user_id: "nobody" });
  server.socket.event(ROOM, "pusher_internal:member_added", { user_id: "3", user_info: { name: "Cyd B." } });
  assert.deepEqual(told.slice(1), ["joined 3", "change 1,2,3", "left 2", "change 1,3", "change 1,3"]);
  assert.equal(members.get("3").info.name, "Cyd B.");
});

test("the protocol's own events go on to those who want them", async (t) => {
  const { server, channel } = await room(t);
  const heard = [];
  channel.on("pusher:member_added", (data) => heard.push([data.user_id, channel.members.has("3")]));
  server.socket.event(ROOM, "pusher_internal:member_added", { user_id: "3", user_info: cyd.info });
  assert.deepEqual(heard, [["3", true]]);
});

test("after a reconnection only the difference is told, and meanwhile the roster stays", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { server, client, channel, members, told } = await room(t);
  server.rosters[ROOM] = rosterOf(ada, cyd);
  server.socket.drop();
  assert.equal(members.count, 2);
  t.mock.timers.tick(2000);
  await until(() => client.state === "connected");
  await channel.ready();
  assert.deepEqual(told.slice(1), ["left 2", "joined 3", "change 1,3"]);
  assert.deepEqual(members.me, ada);
});

test("you may have become another: me follows what the application signed", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { server, channel, members } = await room(t);
  server.grant = () => ({ auth: "k:s", channel_data: '{"user_id":2}' });
  server.socket.drop();
  t.mock.timers.tick(2000);
  await channel.ready();
  assert.deepEqual(members.me, bob);
});

test("a public channel has no members", async (t) => {
  const server = new FakeServer();
  const client = server.connect(t);
  assert.equal(client.subscribe("room").members, undefined);
});
