// Compiled, never run: good usage must type-check and each marked line must not.
import { connect, RealtimeError } from "../../../realtime_kit/client/realtime.js";
import type { Channel, Meta, Options, RealtimeClient, State } from "../../../realtime_kit/client/realtime.js";
import { backoff } from "../../../realtime_kit/client/backoff.js";
import * as socket from "../../../realtime_kit/client/transports/socket.js";
import type { Hooks, Transport, TransportModule } from "../../../realtime_kit/client/transports/transport.js";

const client: RealtimeClient = connect();
connect({ configUrl: new URL("https://app.test/realtime/config"), credentials: "include" });
connect({ headers: () => ({ Authorization: "Bearer x" }), signIn: false, csrfToken: () => null });
connect({ headers: async ({ refresh }) => (refresh ? new Headers() : [["A", "1"]]) });
connect({ WebSocket, fetch, transports: { socket: () => socket, sse: () => import("../../../realtime_kit/client/transports/socket.js") } });
connect({ decrypt: ({ nonce, ciphertext, sharedSecret }) => (nonce.length ? ciphertext + sharedSecret : null) });
connect({ decrypt: async () => new Uint8Array() });
connect({ Ably: { Realtime: class {} } });
connect({ order: ["sse", "poll"], eventSource: true });
// @ts-expect-error names, in their order
connect({ order: "poll" });
// @ts-expect-error not Ably's SDK
connect({ Ably: { Rest: class {} } });
// @ts-expect-error no such option
connect({ key: "app-key" });
// @ts-expect-error headers are asked for, not given
connect({ headers: { Authorization: "Bearer x" } });
// @ts-expect-error not a value of RequestCredentials
connect({ credentials: "yes" });
// @ts-expect-error a transport needs `open`
connect({ transports: { mine: () => ({ supported: () => true }) } });

// The client

const state: State = client.state;
const socketId: string | null = client.socketId;
client.on("state", (now, { previous, error, retryIn }) => {
  const both: State[] = [now, previous];
  const why: string | undefined = error?.message;
  const seconds: number = (retryIn ?? 0) / 1000;
  return [both, why, seconds];
});
client.on("error", (error) => {
  if (error.code === "denied") return error.channel?.length;
  // @ts-expect-error no such code
  if (error.code === "forbidden") return 0;
  return error.serverCode ?? error.status;
});
// @ts-expect-error no such event of the client
client.on("connected", () => {});
// @ts-expect-error read-only
client.state = "connected";
// @ts-expect-error no such state
if (state === "disconnected") client.close();
const off: () => void = client.on("state", () => {});
off();

// Channels

const anything = client.subscribe("orders");
anything.on("shipped", (data, meta) => [data.whatever, meta.id, meta.offset, meta.epoch, meta.mutation, meta.userId]);
// @ts-expect-error a handler is needed
anything.on("shipped");
const place: string | null = anything.position;
client.subscribe("orders", { position: place });
// @ts-expect-error positions are text
client.subscribe("orders", { position: 7 });
anything.onGap(({ channel, position }) => [channel.length, position?.length]);
client.onGap(({ position }) => client.subscribe("orders", { position }))();
// @ts-expect-error read-only
anything.position = "e:1";
// @ts-expect-error only presence channels have members
anything.members;
// @ts-expect-error a name is needed
client.subscribe();

interface OrderEvents {
  shipped: { eta: string };
  cancelled: { reason: string };
}
const orders = client.subscribe<OrderEvents>("private-orders-42");
orders.on("shipped", ({ eta }, meta: Meta) => [eta.toUpperCase(), meta.channel]);
orders.on("client-typing", (data) => data);
orders.on("pusher:cache_miss", () => {});
orders.on("*", (data, { event }) => [data, event]);
// @ts-expect-error misspelt
orders.on("shiped", () => {});
// @ts-expect-error `shipped` has no reason
orders.on("shipped", ({ reason }) => reason);
const sent: boolean = orders.whisper("typing", { on: true });
orders.onWhisper<{ on: boolean }>("typing", ({ on }, { userId }) => [!on, userId]);
orders.onError((error: RealtimeError) => error.code);
orders.ready().then((channel: Channel<OrderEvents>) => channel.unsubscribe());
// @ts-expect-error not a state of channels
if (orders.state === "connected") orders.unsubscribe();

// Presence

const room = client.subscribe<{ message: { text: string } }, { name: string }>("presence-room-1");
room.on("message", ({ text }) => text.trim());
room.members.on("joined", ({ id, info }) => id + info.name.toUpperCase());
room.members.on("change", (members) => [...members.values()].map(({ info }) => info.name));
const names: string[] = [...room.members].map(([id, member]) => id + member.info.name);
const me: string | undefined = room.members.me?.info.name;
const count: number = room.members.count + room.members.size;
// @ts-expect-error members come from the server
room.members.set("1", { id: "1", info: { name: "Ada" } });
// @ts-expect-error no such event of members
room.members.on("left!", () => {});

// User, watchlist, fetch

client.user.on("notice", (data) => data.text);
const userId: string | null = client.user.id;
client.watchlist.on("online", (ids) => ids.map((id) => id.length));
// @ts-expect-error no such event
client.watchlist.on("away", () => {});
client.fetch("/messages", { method: "POST" }).then((response) => response.json());

// Back-off and transports

const wait: number = backoff(3, { base: 1, cap: 2, floor: 0, random: () => 0.5 });
// @ts-expect-error a number is needed
backoff("3");

export const transport: TransportModule = {
  supported: ({ client: { socket } }) => socket !== undefined,
  open(config, hooks: Hooks): Transport {
    hooks.event("a", "x", {}, { id: "1", offset: 1, epoch: "e" });
    hooks.state("lost", { error: new RealtimeError("connection_lost", "gone"), retry: false, wait: 0 });
    hooks.state("paused", { error: new RealtimeError("connection_lost", "gone"), retryIn: 0 });
    hooks.authorized("a", { shared_secret: null });
    // @ts-expect-error false, when it is too late
    hooks.wanted().length;
    // @ts-expect-error a loss has its error
    hooks.state("lost", {});
    void config.request(config.auth, { json: {}, signal: config.signal });
    return { subscribe() {}, unsubscribe() {}, publish: null, close() {} };
  },
};

const options: Options = {};
export const used = [socketId, sent, names, me, count, userId, wait, options];
