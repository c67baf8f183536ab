// Compiled, never run: good usage must type-check and each marked line must not.
import { connect } from "../../../realtime_kit/client/realtime.js";
import type { Channel, Member, PresenceChannel, RealtimeClient, State } from "../../../realtime_kit/client/realtime.js";
import {
  RealtimeProvider, useChannel, useChannelState, useConnectionState, useEvent, useEventSource, useOptimistic, usePolling,
  usePresence, useRealtime, useSocket,
} from "../../../realtime_kit/client/react/index.js";

interface OrderEvents {
  shipped: { eta: string };
}

export function Good() {
  const client: RealtimeClient | null = useRealtime();
  const state: State = useConnectionState();
  const orders: Channel<OrderEvents> | null = useChannel<OrderEvents>("private-orders-1");
  useEvent(orders, "shipped", ({ eta }, { id }) => [eta.toUpperCase(), id]);
  useEvent(orders, "client-typing", (data) => data);
  useEvent<{ eta: string }>("private-orders-1", "shipped", ({ eta }) => eta.length);
  useEvent(null, "shipped", () => {});
  const room: PresenceChannel<{}, { name: string }> | null = useChannel<{}, { name: string }>("presence-room-1");
  const { members, me, count } = usePresence(room);
  const named: readonly Member<{ name: string }>[] = usePresence<{ name: string }>("presence-room-1").members;
  const denied: string | undefined = useChannelState(orders).error?.code;
  const socket = useSocket("private-chat");
  const isSent: boolean = socket.emit("typing", { on: true });
  socket.on<string>("message", (text) => text.trim())();
  useSocket().on("private-chat", "message", () => {});
  useSocket(orders).emit("typing");
  const typed = useRealtime<{ news: { posted: string } }>();
  typed?.subscribe("news").on("posted", (text) => text.trim());
  const stream = useEventSource<{ total: number }>("/events", {
    onMessage: ({ total }, event) => [total.toFixed(), event.lastEventId],
    onError: (event) => event.type,
    events: ["realtime:gap"],
  });
  const { data, error, isLoading, refetch } = usePolling({
    fetcher: async ({ signal }) => (await fetch("/orders", { signal })).json() as Promise<string[]>,
    interval: 1000,
    enabled: state !== "connected",
    key: 7,
  });
  const likes = useOptimistic({ initial: 0, channel: "posts", reduce: { liked: (_, { count }) => count } });
  const like = () => likes.mutate((n) => n + 1, ({ fetch }) => fetch("/like", { method: "POST" }));
  const shipping = useOptimistic({
    initial: "",
    channel: orders,
    reduce: { shipped: (_, { eta }) => eta },
    mutations: { ship: { apply: (_, eta: string) => eta, send: (eta: string) => eta } },
  });
  shipping.mutate("ship", "12:00");
  return (
    <RealtimeProvider options={{ configUrl: "/realtime/config" }}>
      <button onClick={like} title={likes.error?.message}>{likes.state.toFixed()}</button>
      {[client?.socketId, members.map(({ info }) => info.name), me?.info.name, count, named.length, denied]}
      {[String(isSent), stream, data?.length, error?.message, String(isLoading), shipping.state.trim()]}
      <button onClick={() => void refetch()}>{likes.pending.length}</button>
      <RealtimeProvider client={connect()} />
      <RealtimeProvider client={connect<{ news: { posted: string } }>()} />
    </RealtimeProvider>
  );
}

/** Props that may be left out are handed on as they are. */
export function HandedOn({ interval, room }: { interval?: number; room?: string }) {
  useOptimistic({ initial: 0, channel: room, eventWithin: interval });
  return usePolling({ fetcher: async () => room, interval, key: room }).data;
}

export function Bad() {
  const orders = useChannel<OrderEvents>("private-orders-1");
  // @ts-expect-error misspelt
  useEvent(orders, "shiped", () => {});
  // @ts-expect-error `shipped` has no reason
  useEvent(orders, "shipped", ({ reason }) => reason);
  // @ts-expect-error it may be null
  orders.on("shipped", () => {});
  // @ts-expect-error only presence channels have members
  usePresence(orders);
  // @ts-expect-error a fetcher is needed
  usePolling({ interval: 1000 });
  // @ts-expect-error data may be missing
  usePolling({ fetcher: async () => "" }).data.length;
  // @ts-expect-error emit is of one channel here
  useSocket("private-chat").emit({ on: true });
  // @ts-expect-error a channel that may be missing would be any channel
  useSocket(undefined as string | undefined);
  // @ts-expect-error no such channel
  useRealtime<{ news: { posted: string } }>()?.subscribe("gnus");
  // @ts-expect-error the handler is missing
  useSocket().on("private-chat", "message");
  // @ts-expect-error another state
  useOptimistic({ initial: 0 }).mutate(() => "one", () => {});
  // @ts-expect-error nobody calls it that
  useEventSource("/events", { onmessage: () => {} });
  // @ts-expect-error options of connect, not a key
  return <RealtimeProvider options={{ key: "app-key" }} />;
}
