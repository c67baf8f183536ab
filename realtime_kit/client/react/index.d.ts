/**
 * Hooks for React 18 and later. Handlers may be written inline: a new one on each render is taken,
 * and nothing is connected anew for it. Nothing happens while rendering, so a server can. At
 * length: docs/react.md.
 */
import type { ReactElement, ReactNode } from "react";
import type { Mutate, OptimisticError, OptimisticRules, Pending } from "../optimistic.js";
import type {
  Channel, ChannelState, Client, EventMap, Handler, Member, Off, Options, PresenceChannel, ProtocolEvent,
  RealtimeClient, RealtimeError, State, TypedClient,
} from "../realtime.js";

export interface RealtimeProviderProps {
  children?: ReactNode;
  /** Yours: it is not closed. Without it the provider connects, and closes when it is unmounted. */
  client?: Client<any> | undefined;
  /** Of `connect`; read when it connects. */
  options?: Options | undefined;
}

/** Has the client that the hooks below it use. */
export function RealtimeProvider(props: RealtimeProviderProps): ReactElement;

/** The client; null on a server, and until the provider is mounted. */
export function useRealtime(): RealtimeClient | null;
export function useRealtime<Channels extends object>(): TypedClient<Channels> | null;

/** `connecting` on a server. */
export function useConnectionState(): State;

/** A name, or a channel that is subscribed to elsewhere; with neither a hook does nothing. */
export type ChannelLike<Events extends EventMap = any> = string | Channel<Events> | null | undefined;

/**
 * The channel of that name, subscribed to as long as a component uses it; null at first. All
 * components share one subscription, and the last one leaves it.
 */
export function useChannel<Events extends EventMap = EventMap, Info = any>(
  name: `presence-${string}`,
): PresenceChannel<Events, Info> | null;
export function useChannel<Events extends EventMap = EventMap>(
  name: string | null | undefined,
): Channel<Events> | null;

/** Whether it is subscribed, and why it is denied. */
export function useChannelState(channel: ChannelLike): {
  state: ChannelState;
  error: RealtimeError | null;
};

/** Calls `handler` for each event of that name, as long as the component is mounted. */
export function useEvent<Events extends EventMap, Name extends keyof Events & string>(
  channel: Channel<Events> | null | undefined,
  event: Name,
  handler: Handler<Events[Name]>,
): void;
export function useEvent(channel: ChannelLike, event: ProtocolEvent, handler: Handler): void;
export function useEvent<Data = any>(
  channel: string | null | undefined,
  event: string,
  handler: Handler<Data>,
): void;

export interface Presence<Info = any> {
  /** Another array on each change. */
  members: readonly Member<Info>[];
  me: Member<Info> | null;
  count: number;
}

/** Who is there. A channel that is no presence channel is a TypeError. */
export function usePresence<Info = any>(
  channel: string | PresenceChannel<any, Info> | null | undefined,
): Presence<Info>;

export interface EventSourceOptions<Data = any> {
  /** `data`: what the event's text says as JSON, else the text. */
  onMessage?: ((data: Data, event: MessageEvent<string>) => void) | undefined;
  /** The connection was lost, or refused. It is tried again. */
  onError?: ((event: Event) => void) | undefined;
  /** Names of events beside those without one. */
  events?: readonly string[] | undefined;
  withCredentials?: boolean | undefined;
}

/**
 * Reads an event stream as long as the component is mounted; null reads none. Where the browser gives
 * up, after an answer that is no stream, it is opened anew, later each time, with the last event's
 * id as query parameter `position`.
 */
export function useEventSource<Data = any>(
  url: string | null | undefined,
  options?: EventSourceOptions<Data>,
): "connecting" | "open" | "closed";

export interface Socket {
  isConnected: boolean;
  /** Calls `handler` for that event until it is taken off, or the component unmounted. */
  on<Data = any>(event: string, handler: Handler<Data>): Off;
  /** A whisper: the others on the channel hear it as `client-EVENT`. False: not sent. */
  emit(event: string, data?: unknown): boolean;
}

export interface AnySocket {
  isConnected: boolean;
  /** Subscribes to the channel as long as there is a handler. */
  on<Data = any>(channel: string, event: string, handler: Handler<Data>): Off;
  /** To a channel that is subscribed to. */
  emit(channel: string, event: string, data?: unknown): boolean;
}

/**
 * For what does not fit a hook; `on` and `emit` stay the same over renders. Of `null` nothing is heard,
 * and nothing is sent.
 */
export function useSocket(channel: string | Channel<any> | null): Socket;
export function useSocket(channel?: undefined): AnySocket;

export interface PollingOptions<Data> {
  /** `signal` is aborted when its answer would come too late. */
  fetcher: (ask: { signal: AbortSignal }) => Promise<Data>;
  /** Milliseconds from an answer to the next request. Default 5000; more after failures. */
  interval?: number | undefined;
  /** Default true. */
  enabled?: boolean | undefined;
  /** What is asked for: another key forgets the data. */
  key?: string | number | undefined;
}

export interface Polling<Data> {
  /** The last answer; it stays when a later request fails. */
  data: Data | undefined;
  /** Of the last request, if that failed. */
  error: Error | null;
  /** Until there is a first answer or error. */
  isLoading: boolean;
  /** Asks now, and once where polling is not enabled; resolves when that is over. */
  refetch: () => Promise<void>;
}

/** One request after the other; none while the page is hidden or offline. */
export function usePolling<Data>(options: PollingOptions<Data>): Polling<Data>;

export interface UseOptimistic<State, Args = {}> {
  /** The server's state with what is pending applied to it. */
  state: State;
  pending: readonly Pending[];
  /** Why the last one was rolled back, until the next `mutate`. */
  error: OptimisticError | null;
  /** The same over renders. */
  mutate: Mutate<State, Args>;
  reload: () => Promise<void>;
}

/**
 * Optimistic updates of one channel's state. `initial` and `position` are read at the beginning, for
 * each channel and `key` again; everything else as it was rendered last. What is pending when the
 * component is unmounted is sent all the same.
 */
export function useOptimistic<State, Events extends EventMap = EventMap, Args = {}>(
  options: OptimisticRules<State, Events, Args> & { channel?: string | Channel<Events> | null | undefined },
): UseOptimistic<State, Args>;
