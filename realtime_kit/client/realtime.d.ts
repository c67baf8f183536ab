/**
 * The browser client of realtime-kit: `connect()` and what it returns.
 * States, examples and error codes at length: docs/client.md.
 */
import type { Position, TransportModule } from "./transports/transport.js";

/** Takes a handler off again. */
export type Off = () => void;

/** Event names and the data of each: `subscribe<{shipped: {eta: string}}>("orders")`. */
export type EventMap = Record<string, any>;

/** What is known of an event beside its data. */
export interface Meta {
  /** The event's name; of use in a handler of "*". */
  event: string;
  /** The channel's name; absent on events sent to the user. */
  channel?: string;
  /** The event's id. Each id is delivered once per channel. */
  id?: string;
  /** Place in the channel's history, counted within `epoch`. */
  offset?: number;
  epoch?: string;
  /** Id of the optimistic update that this event settles. */
  mutation?: string;
  /** Who whispered, on a presence channel; vouched for by the server. */
  userId?: string;
}

export type Handler<Data = any> = (data: Data, meta: Meta) => void;

/** Names of the protocol and of whispers, beside the application's own; "*" is every event. */
export type ProtocolEvent = "*" | `pusher:${string}` | `client-${string}`;

/** The data of `client-NAME`, where the events say it. */
type Whispered<Events, Name extends string> = `client-${Name}` extends keyof Events
  ? Events[`client-${Name}`]
  : any;

export type ErrorCode =
  /** The server refused the connection for good (`serverCode` 4000-4099). */
  | "refused"
  /** The connection ended; the next attempt is under way (see `StateDetail`). */
  | "connection_lost"
  /** No transport of the config works here: in Node 20 for want of `connect({WebSocket})`. */
  | "no_transport"
  /** A `pusher:error` frame: a rejected whisper, an invalid signature, … */
  | "server_error"
  /** The application did not answer, or with 408, 429 or 5xx. It is asked again. */
  | "request_failed"
  /** The application's answer makes no sense: another 4xx, no JSON, no entry for a channel. */
  | "bad_answer"
  /** 401, also with refreshed headers, or a redirect as to a login page. */
  | "unauthorized"
  /** 403: this user may not. */
  | "denied"
  /** `subscribe` with a name that no channel can have. */
  | "invalid_channel"
  /** An encrypted channel, and no `decrypt` was given. */
  | "decrypt_required"
  /** `decrypt` threw, or did not return JSON. */
  | "decrypt_failed"
  /** The transports `sse` and `poll`: the channel has neither a history nor a source. */
  | "no_history"
  /** A whisper on a public or encrypted channel. */
  | "whisper_unsupported"
  /** `ready()` of a channel that was unsubscribed. */
  | "unsubscribed"
  /** `subscribe` on a closed client. */
  | "closed";

export class RealtimeError extends Error {
  constructor(code: ErrorCode, message: string, details?: Partial<RealtimeError>);
  readonly name: "RealtimeError";
  readonly code: ErrorCode;
  /** The channel it is about, if it is about one. */
  readonly channel?: string;
  /** The HTTP status that the application answered with. */
  readonly status?: number;
  /** The code of the Pusher protocol, from an error frame or the close of the socket. */
  readonly serverCode?: number | null;
  /** Whether the client tries again by itself. */
  readonly transient?: boolean;
}

/**
 * - `connecting`: the first or a later attempt is under way
 * - `connected`
 * - `waiting`: between two attempts
 * - `offline`: like `waiting`, and the browser says there is no network, or the page was put away
 * - `failed`: given up for good, see `error`
 * - `closed`: by `close()`
 */
export type State = "connecting" | "connected" | "waiting" | "offline" | "failed" | "closed";

export interface StateDetail {
  previous: State;
  /** Why, in `waiting`, `offline` and `failed`. */
  error?: RealtimeError;
  /** Milliseconds to the next attempt, in `waiting` and `offline`. */
  retryIn?: number;
}

/** Events of a channel were lost for good: what they led to has to be fetched from elsewhere. */
export interface Gap {
  channel: string;
  /** Where it goes on; null where that cannot be known. */
  position: Position | null;
}

/** `subscribing` also while the connection is lost. */
export type ChannelState = "subscribing" | "subscribed" | "denied" | "unsubscribed";

export interface Channel<Events extends EventMap = EventMap> {
  readonly name: string;
  readonly state: ChannelState;
  /** Why, in `denied` and `unsubscribed`. */
  readonly error: RealtimeError | null;
  /** How far it was read, where it keeps a history: for `subscribe` in a later page. */
  readonly position: Position | null;

  /** Calls `handler` for each event of that name from now on, across reconnections. */
  on<Name extends keyof Events & string>(event: Name, handler: Handler<Events[Name]>): Off;
  on(event: ProtocolEvent, handler: Handler): Off;

  /**
   * Sends a client event `client-EVENT` to the others on this channel; not through the server's
   * application, not kept. False: not sent, because not subscribed now or the transport cannot.
   * Throws `whisper_unsupported` on public and encrypted channels.
   */
  whisper<Name extends string>(event: Name, data?: Whispered<Events, Name>): boolean;
  /** The same as `on("client-EVENT", handler)`. */
  onWhisper<Name extends string>(event: Name, handler: Handler<Whispered<Events, Name>>): Off;
  onWhisper<Data = any>(event: string, handler: Handler<Data>): Off;

  /** Denied, or an event that cannot be decrypted. `subscribe` again to ask again. */
  onError(handler: (error: RealtimeError) => void): Off;
  /**
   * Events that this channel keeps in its history were not to be had any more: after too long a
   * time away, or because the history was lost. Events go on after it.
   */
  onGap(handler: (gap: Gap) => void): Off;
  /**
   * Resolves when subscribed, and with history when its position is known: of what is triggered from
   * then on nothing is lost. Rejects when that is denied or given up.
   */
  ready(): Promise<this>;
  /** Leaves the channel, for all who share this object. */
  unsubscribe(): void;
}

export interface Member<Info = any> {
  readonly id: string;
  readonly info: Info;
}

/**
 * Who is there, by user id; a user with several tabs is one member. It stays as it was while the
 * connection is lost, and is told only the difference afterwards.
 */
export interface Members<Info = any> extends ReadonlyMap<string, Member<Info>> {
  /** Yourself, once subscribed. */
  readonly me: Member<Info> | null;
  /** The same as `size`. */
  readonly count: number;
  on(event: "joined" | "left", handler: (member: Member<Info>) => void): Off;
  /** After each change and each new roster, the first included: the one to render from. */
  on(event: "change", handler: (members: Members<Info>) => void): Off;
}

export interface PresenceChannel<Events extends EventMap = EventMap, Info = any>
  extends Channel<Events> {
  readonly members: Members<Info>;
}

/** Events sent to the signed-in user, on whichever page they are. */
export interface User<Events extends EventMap = EventMap> {
  /** Null for a guest, and until signed in. */
  readonly id: string | null;
  /** What the application's sign-in answered: `{id, user_info, …}`. */
  readonly data: any;
  on<Name extends keyof Events & string>(event: Name, handler: Handler<Events[Name]>): Off;
  on(event: ProtocolEvent, handler: Handler): Off;
}

export interface Watchlist {
  /** Users on the signed-in user's watchlist came online, or went. */
  on(event: "online" | "offline", handler: (userIds: string[]) => void): Off;
}

/** What every client has; `subscribe` depends on whether `connect` was told the channels. */
export interface Client<UserEvents extends EventMap = EventMap> {
  readonly state: State;
  /** Names the present connection to the server; null without one. */
  readonly socketId: string | null;
  /** The channels subscribed to, by name. */
  readonly channels: ReadonlyMap<string, Channel>;
  readonly user: User<UserEvents>;
  readonly watchlist: Watchlist;

  on(event: "state", handler: (state: State, detail: StateDetail) => void): Off;
  /** Each error once. Without such a handler, and the channel's `onError`, they go to the console. */
  on(event: "error", handler: (error: RealtimeError) => void): Off;
  /** The `onGap` of all channels. */
  onGap(handler: (gap: Gap) => void): Off;

  /**
   * `fetch` with `X-Socket-ID`, so that the application can leave this connection out of what the
   * request triggers, and `X-CSRF-Token`; both only to the origin of `configUrl`.
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** Ends the connection and all timers, listeners and requests, for good. */
  close(): void;
}

export interface RealtimeClient extends Client {
  /**
   * The channel of that name; subscribing twice gives the same object. With a `position` of its
   * history it begins with what came after it.
   */
  subscribe<Events extends EventMap = EventMap, Info = any>(
    name: `presence-${string}`,
    from?: { position?: Position | null },
  ): PresenceChannel<Events, Info>;
  subscribe<Events extends EventMap = EventMap>(
    name: string,
    from?: { position?: Position | null },
  ): Channel<Events>;
}

type UserChannel = `#server-to-user-${string}`;
type UserEventsOf<Channels> = UserChannel extends keyof Channels ? Channels[UserChannel] & {} : {};

/** `connect<Channels>()`: the names that there are, and the events of each. */
export interface TypedClient<Channels extends object> extends Client<UserEventsOf<Channels>> {
  /** The channel of that name; subscribing twice gives the same object. */
  subscribe<Name extends Exclude<keyof Channels & string, UserChannel>, Info = any>(
    name: Name,
    from?: { position?: Position | null },
  ): Name extends `presence-${string}`
    ? PresenceChannel<Channels[Name] & {}, Info>
    : Channel<Channels[Name] & {}>;
}

/** An event's box on a `private-encrypted-` channel; all base64. */
export interface Sealed {
  nonce: string;
  ciphertext: string;
  sharedSecret: string;
}

export interface Options {
  /** Where the application's config is. Default `/realtime/config`; outside of a page: absolute. */
  configUrl?: string | URL;
  /**
   * Headers for each config, authorization and stream request, for example a bearer token. Asked
   * each time; asked once more with `refresh: true` after a 401.
   */
  headers?: (ask: { refresh: boolean }) => HeadersInit | Promise<HeadersInit>;
  /** As of `fetch`; "include" sends cookies to another origin. Default "same-origin". */
  credentials?: RequestCredentials;
  /** For `client.fetch`. Default: the content of `<meta name="csrf-token">`. */
  csrfToken?: () => string | null | undefined;
  /** False: stay a guest, even where the config offers sign-in. */
  signIn?: boolean;
  /**
   * Opens events of encrypted channels: NaCl secretbox, for example tweetnacl's. Returns the
   * plaintext, which is JSON; throws, or returns null, if it does not open.
   */
  decrypt?: (sealed: Sealed) => string | Uint8Array | null | Promise<string | Uint8Array | null>;
  /**
   * The transports to use, best first, instead of those of the config: `["sse", "poll"]` for a page
   * that only listens.
   */
  order?: string[];
  /** True: `sse` uses the browser's EventSource. */
  eventSource?: boolean;
  /** Further transports, or other ones for the same names, by the names in the config. */
  transports?: Record<string, () => TransportModule | Promise<TransportModule>>;
  /** Where there is no global one (Node 20), or another is wanted. */
  WebSocket?: new (url: string) => any;
  /** Ably's SDK, for provider `ably`: `import * as Ably from "ably"`. Without it a page loads it. */
  Ably?: AblySdk;
  fetch?: typeof fetch;
}

/** The package `ably`, 2.x, or the global of the same name. */
export interface AblySdk {
  Realtime: new (options: any) => any;
}

/**
 * Starts to connect, and returns the client at once: subscribe without waiting.
 *
 * `Channels` is the event map that `realtime-kit types` writes: by channel name, as a literal or a
 * template such as `private-orders-${number}`, the events and the data of each.
 */
export function connect(options?: Options): RealtimeClient;
export function connect<Channels extends object>(options?: Options): TypedClient<Channels>;
