/**
 * The seam between the client and what carries its events. A transport is a module with
 * `supported` and `open`. One call of `open` is one connection; after "lost" the client opens
 * another, and a transport keeps nothing between two. One that can resume says "paused" instead,
 * and "open" again.
 */
import type { Options, RealtimeError } from "../realtime.js";

/** The application's answer of `GET /config`. */
export interface Config {
  provider: string;
  /** Transports to try, best first. */
  transports: string[];
  prefix: string;
  /** Paths of the endpoints; null where one is not offered. */
  auth: string;
  userAuth: string | null;
  trigger: string | null;
  events: string | null;
  client: {
    /** The Pusher protocol. `activityTimeout`: seconds of silence before a ping. */
    socket?: {
      key: string;
      cluster?: string | null;
      host?: string | null;
      port?: number | null;
      path?: string | null;
      tls?: boolean;
      activityTimeout?: number | null;
    };
    /** Ably, or its emulator. `script`: URL of ably-js's build for a `<script>`. */
    ably?: {
      script: string;
      endpoint?: string | null;
      port?: number | null;
      tls?: boolean;
    };
  };
}

export interface TransportConfig extends Config, Omit<Options, "transports"> {
  /** What the paths are relative to. */
  base: URL;
  /**
   * JSON of the application, with the app's headers and `more`: POST with a body, else GET; in
   * `timeout` ms, default 15 s. With `read`, what that makes of the response, whatever its status.
   */
  request(
    path: string,
    options: {
      json?: unknown;
      form?: Record<string, string>;
      more?: Record<string, string>;
      timeout?: number;
      read?: (response: Response, path: string) => unknown;
      signal: AbortSignal;
    },
  ): Promise<any>;
  /** Ids of this client's former connections, newest first; the present one's, once it is open. */
  sockets: string[];
  WebSocket?: new (url: string) => any;
  /** Aborted when the client lets go of the connection. */
  signal: AbortSignal;
}

/** How far a channel was read: `EPOCH:OFFSET`, or a source's cursor, as `/events` gives it. */
export type Position = string;

/** A channel's entry in the answer of `POST /auth`. */
export interface ChannelAuth {
  auth?: string;
  channel_data?: string;
  shared_secret?: string | null;
}

export interface FrameMeta {
  id?: string;
  /** Place in the channel's history. */
  epoch?: string;
  offset?: number;
  mutation?: string;
  userId?: string;
}

/** How a connection ended, and so when the next one may be tried. */
export interface Loss {
  error: RealtimeError;
  /** False: never. Default true. */
  retry?: boolean;
  /** Least milliseconds to wait; 0 asks for an attempt at once. Default: as the back-off says. */
  wait?: number;
}

/** Called by the transport; never before `open` has returned. */
export interface Hooks {
  state(state: "open", detail: { socketId?: string | null }): void;
  state(state: "lost", detail: Loss): void;
  /** It tries again by itself, in `retryIn` ms; channels are as good as lost until "open". */
  state(state: "paused", detail: { error: RealtimeError; retryIn: number }): void;
  /**
   * An event of a channel, or of the connection (`channel` null). Of the protocol's own events the
   * client knows `pusher:subscription_succeeded` (on presence channels with
   * `{presence: {hash: {[userId]: info}}}`), `pusher:member_added` and `pusher:member_removed`
   * (`{user_id, user_info}`), and of the connection `pusher:error` (`{message, code}`),
   * `pusher:signin_success` (`{user_data}`) and `pusher:watchlist_events`
   * (`{events: [{name, user_ids}]}`).
   */
  event(channel: string | null, name: string, data: unknown, meta?: FrameMeta): void;
  /** A channel's position moved without an event. */
  position(channel: string, position: Position): void;
  /** Events were lost; `position` is where the channel goes on. */
  gap(channel: string, position: Position): void;
  /** The other side refused a subscription. */
  denied(channel: string, error: RealtimeError): void;
  /** The answer for a channel, where the transport asks for it; `shared_secret` null: it opens. */
  authorized(channel: string, answer: ChannelAuth): void;
  /** What went wrong beside: to the handlers of the client's "error". */
  report(error: RealtimeError): void;
  /** The channels there are, but for those denied; false if the connection is given up already. */
  wanted(): { name: string; position: Position | null }[] | false;
}

export interface Transport {
  /** It asks `POST /auth` by itself: `subscribe` comes without `auth` for every channel. */
  authorizes?: true;
  /**
   * It brings each channel's events in order from the position given to `subscribe` on, and tells
   * gaps: the client looks into no log beside it.
   */
  inOrder?: true;
  /** `auth` is null for public channels; `position` null: from now on. */
  subscribe(channel: string, auth: ChannelAuth | null, position: Position | null): void;
  unsubscribe(channel: string): void;
  /** Sends a client event; false if it could not. Null: this transport cannot send. */
  publish: ((channel: string, event: string, data: unknown) => boolean) | null;
  /** Hands on the answer of `POST /user-auth`, where the transport knows users. */
  signIn?(answer: { auth: string; user_data: string; channel?: string }): void;
  /** The network or the page may have changed: find out soon whether the connection still is. */
  check?(): void;
  /** Lets go of everything. No hook is called afterwards. */
  close(): void;
}

export interface TransportModule {
  /** Whether it can work here at all. */
  supported(config: TransportConfig): boolean;
  /** Starts one connection. What it throws counts as a lost attempt. */
  open(config: TransportConfig, hooks: Hooks): Transport;
}
