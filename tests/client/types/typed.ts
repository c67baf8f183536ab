// Compiled, never run: a client that knows its channels takes good usage, and each marked line not.
import { connect } from "../../../realtime_kit/client/realtime.js";
import type { PresenceChannel, TypedClient } from "../../../realtime_kit/client/realtime.js";

interface Shipped {
  order_id: number;
  eta: string | null;
}

// As `realtime-kit types` writes it.
interface RealtimeEvents {
  [channel: `private-orders-${number}`]: { shipped: Shipped; "client-typing": { on: boolean } };
  [channel: `presence-room-${string}`]: { message: { text: string } };
  news: { published: { title: string } };
  [channel: `#server-to-user-${string}`]: { notice: { text: string } };
}

const client: TypedClient<RealtimeEvents> = connect<RealtimeEvents>({ signIn: false });
declare const id: number;
declare const room: string;

const orders = client.subscribe(`private-orders-${id}`);
orders.on("shipped", ({ order_id, eta }, meta) => [order_id.toFixed(), eta?.toUpperCase(), meta.id]);
const literal = client.subscribe("private-orders-42");
literal.on("shipped", ({ eta }) => eta?.length);
literal.on("*", (data, { event }) => [data, event]);
literal.on("pusher:cache_miss", () => {});
client.subscribe("news").on("published", ({ title }) => title.trim());
// @ts-expect-error no such channel
client.subscribe("private-order-42");
// @ts-expect-error not a number
client.subscribe(`private-orders-${room}`);
// @ts-expect-error the user's events are on `client.user`
client.subscribe("#server-to-user-7");
// @ts-expect-error misspelt
literal.on("shiped", () => {});
// @ts-expect-error an event of another channel
literal.on("published", () => {});
// @ts-expect-error `shipped` has no reason
literal.on("shipped", ({ reason }) => reason);
// @ts-expect-error it may be null
literal.on("shipped", ({ eta }) => eta.length);

const there: PresenceChannel<{ message: { text: string } }> = client.subscribe(`presence-room-${room}`);
there.members.on("joined", (member) => member.id);
there.on("message", ({ text }) => text.trim());
client.subscribe<`presence-room-${string}`, { name: string }>("presence-room-1").members.me?.info.name.trim();
// @ts-expect-error only presence channels have members
literal.members;

literal.whisper("typing", { on: true });
literal.onWhisper("typing", ({ on }, { userId }) => [!on, userId]);
literal.whisper("nudge", "anything that nobody described");
// @ts-expect-error not what `client-typing` says
literal.whisper("typing", { off: true });
// @ts-expect-error `on` is no text
literal.onWhisper("typing", ({ on }) => on.trim());

client.user.on("notice", ({ text }) => text.trim());
// @ts-expect-error no such event of the user
client.user.on("published", () => {});

// Without events of users there are none.
const bare = connect<{ news: { published: { title: string } } }>();
// @ts-expect-error no such event
bare.user.on("notice", () => {});
bare.user.on("*", () => {});

// A client that was told nothing takes any name, as before.
connect().subscribe("anything").on("whatever", (data) => data.at.all);
