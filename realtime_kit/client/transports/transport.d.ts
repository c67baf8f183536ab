/**
 * The seam between the client and what carries its events. A transport is a module with
 * `supported` and `open`. One call of `open` is one connection; after "lost" the client opens
 * another, so a transport never reconnects by itself and keeps nothing between two.
 */
import type { RealtimeError } from "../realtime.js";

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
    ably?: Record<string, unknown>;
  };
}

export interface TransportConfig extends Config {
  /** What the paths are relative to. */
  base: URL;
  /** JSON of the application, with the app's headers: POST with a body, else GET. */
  request(
    path: string,
    options: { json?: unknown; form?: Record<string, string>; signal: AbortSignal },
  ): Promise<any>;
  WebSocket: (new (url: string) => any) | undefined;
}

export interface Position {
  epoch?: string;
  offset: number;
}

/** A channel's entry in the answer of `POST /auth`. */
export interface ChannelAuth {
  auth?: string;
  channel_data?: string;
  shared_secret?: string;
}

export interface FrameMeta extends Partial<Position> {
  id?: string;
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
  /** The other side refused a subscription. */
  denied(channel: string, error: RealtimeError): void;
}

export interface Transport {
  /** `auth` is null for public channels; `position` null where nothing was received yet. */
  subscribe(channel: string, auth: ChannelAuth | null, position: Position | null): void;
  unsubscribe(channel: string): void;
  /** Sends a client event; false if it could not. Null: this transport cannot send. */
  publish: ((channel: string, event: string, data: unknown) => boolean) | null;
  /** Hands on the answer of `POST /user-auth`, where the transport knows users. */
  signIn?(answer: { auth: string; user_data: string }): void;
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
