/**
 * Optimistic updates: show at once what a mutation will do, and what the server says once it says
 * it. At length: docs/optimistic.md.
 */
import type { Channel, Client, EventMap, Meta, Off } from "./realtime.js";
import type { Position } from "./transports/transport.js";

export interface SendContext {
  /** The mutation's id, also over repetitions; what the server is to give to `trigger(mutation=)`. */
  mutation: string;
  /** Aborted when there is no answer in time, and by `close()`. */
  signal: AbortSignal;
  /**
   * `client.fetch`, or the global one, with `signal` and the header `X-Mutation-Id`. What fails in
   * the network under it is tried again; what fails elsewhere is not.
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** Repetitions so far. */
  attempt: number;
}

/** Changes the state for the view, until the server has: pure, run again on each new state. */
export type Apply<State> = (state: State, mutation: string) => State;

/**
 * Asks the server. A response outside 2xx, one that was redirected, and what is thrown are a
 * failure. The answer is the response's body, JSON where it is, or another value that it returns.
 */
export type Send<Sent = any> = (context: SendContext) => Sent;
export type AnswerOf<Sent> = Awaited<Sent> extends Response ? any : Awaited<Sent>;

/** What the mutation did, by the answer: takes the place of `apply` until the event has come. */
export type Settle<State, Answer = any> = (state: State, answer: Answer) => State;

/** A mutation with a name, for `mutate(name, args)`: those can be kept in a storage. */
export interface Mutation<State, Args = any> {
  apply(state: State, args: Args, mutation: string): State;
  send(args: Args, context: SendContext): unknown;
  settle?(state: State, answer: any, args: Args): State;
}

/**
 * What came first: the answer, or an event with the mutation's id. The answer to what another tab
 * has sent is undefined if that tab could not tell.
 */
export type Settled<Answer = any> =
  | { mutation: string; by: "answer"; answer: Answer }
  | { mutation: string; by: "event"; event: string; data: any };

export interface Pending {
  mutation: string;
  /**
   * - `queued`: others are before it
   * - `sending`
   * - `waiting`: offline, or for the next try; `error` is why
   * - `accepted`: answered; its event has yet to come
   */
  status: "queued" | "sending" | "waiting" | "accepted";
  /** Repetitions so far. */
  attempts: number;
  error: OptimisticError | undefined;
  action: { name: string; args: any } | undefined;
}

export type OptimisticErrorCode =
  /** The application answered outside 2xx (`status`, `answer`) or with a redirect, or `send` threw. */
  | "refused"
  /** Nobody answered, as often as `retries` says. */
  | "network"
  /** By `close()`, or used after it. */
  | "closed"
  /** What is pending cannot be applied to the new state; it is left out of the view. */
  | "apply_failed"
  /** An event could not be reduced; the state is without it. */
  | "reduce_failed"
  /** `reload` failed; it is tried again. */
  | "reload_failed"
  /** The storage cannot be written, or holds what cannot be read. */
  | "storage_failed";

export class OptimisticError extends Error {
  constructor(code: OptimisticErrorCode, message: string, details?: Partial<OptimisticError>);
  readonly name: "OptimisticError";
  readonly code: OptimisticErrorCode;
  /** The mutation that was rolled back, if it is about one. */
  readonly mutation?: string;
  /** Its name and arguments, if it has a name. */
  readonly action?: { name: string; args: any } | undefined;
  /** Status and body of the refusal. */
  readonly status?: number;
  readonly answer?: any;
  /** Milliseconds that the server asked to wait (`Retry-After` of 429 and 503). */
  readonly retryAfter?: number | undefined;
}

/** What the server's state is, and where in the history, if it knows. */
export interface Snapshot<State> {
  state: State;
  position?: Position | null;
}

/** What a store is made of, apart from where its events come from. */
export interface OptimisticRules<State, Events extends EventMap = EventMap, Args = {}> {
  /** The server's state at the beginning. */
  initial: State;
  /** Where in the channel's history `initial` was; give it to `subscribe`, too. */
  position?: Position | null | undefined;
  /**
   * By the event's name, the server's state after it. Pure; without positions an event should say
   * what is, not what changed, so that it does no harm after a snapshot that has it already.
   */
  reduce?: { [Name in keyof Events]?: (state: State, data: Events[Name], meta: Meta) => State } | undefined;
  mutations?: { [Name in keyof Args]: Mutation<State, Args[Name]> } | undefined;
  /**
   * Fetches the state anew: after subscribing, after a gap, and when an event does not come. The given
   * `fetch` rejects what is answered outside 2xx: its body is no state.
   */
  reload?: ((ask: Pick<SendContext, "signal" | "fetch">) => Promise<Snapshot<State>>) | undefined;
  /**
   * Milliseconds that an accepted mutation waits for its event. Default 5000. 0: not at all, for
   * a server that leaves the sender out (`to_others`).
   */
  eventWithin?: number | undefined;
  /** Milliseconds that a request may take, a reload, too. Default 15000. */
  timeout?: number | undefined;
  /** Repetitions of a request that nobody answered, not counting those while offline. Default 8. */
  retries?: number | undefined;
  /**
   * Keeps what is not sent yet over a reload of the page, for mutations with a name. `sessionStorage`
   * is one for each tab; what is in a `localStorage` is shown in all tabs, and sent by one of them.
   */
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length"> | undefined;
  /** Where in the storage: each has a row, `KEY ID`. Name the user in it: what one left must not be sent by the next. */
  key?: string | undefined;
  /** Each failure. Without it: the promise of the mutation, and else the console. */
  onError?: ((error: OptimisticError) => void) | undefined;
}

export interface OptimisticSource<Events extends EventMap = EventMap> {
  /** For `fetch`, and to try again as soon as it is connected. */
  client?: Client<any> | undefined;
  /** Whose events change the server's state. It is listened to, and never left. */
  channel?: Channel<Events> | undefined;
}

export type OptimisticOptions<State, Events extends EventMap = EventMap, Args = {}> =
  OptimisticRules<State, Events, Args> & OptimisticSource<Events>;

export interface Mutate<State, Args = {}> {
  /** Shows `apply`, sends in order, and resolves with what settles it; rejects when rolled back. */
  <Sent>(
    apply: Apply<State>,
    send: Send<Sent>,
    settle?: Settle<State, AnswerOf<Sent>>,
  ): Promise<Settled<AnswerOf<Sent>>>;
  <Name extends keyof Args & string>(
    name: Name,
    ...args: undefined extends Args[Name] ? [args?: Args[Name]] : [args: Args[Name]]
  ): Promise<Settled>;
}

/** `new` does nothing yet, `start` does. `optimistic` is both. */
export class Optimistic<State, Args = {}> {
  constructor(options: OptimisticRules<State, any, Args>);
  /** The view: the server's state with what is pending applied to it. The same until it changes. */
  readonly state: State;
  /** The server's state alone; its objects and arrays are frozen. */
  readonly server: State;
  readonly pending: readonly Pending[];
  readonly mutate: Mutate<State, Args>;
  on(event: "change", handler: (state: State, pending: readonly Pending[]) => void): Off;
  on(event: "error", handler: (error: OptimisticError) => void): Off;
  /** Fetches the state anew, if there is `reload`. Never rejects: failures are told and repeated. */
  reload(): Promise<void>;
  /** Listens, takes up what a storage has kept, and sends. */
  start(source?: OptimisticSource<any>): void;
  /** No longer listens. What is pending is still sent, and failures are still told. */
  stop(): void;
  /** Ends all of it; what is pending is rejected as `closed`, and stays in the storage. */
  close(): void;
}

export function optimistic<State, Events extends EventMap = EventMap, Args = {}>(
  options: OptimisticOptions<State, Events, Args>,
): Optimistic<State, Args>;
