// The browser client of realtime-kit. What each public name means is told in realtime.d.ts.
import { authorizer, persist, requester } from "./auth.js";
import { Channel, isEncrypted, needsAuth } from "./channel.js";
import { keepConnected } from "./connection.js";
import { decode, Emitter, RealtimeError, Stream } from "./events.js";
import { PresenceChannel } from "./presence.js";

export { RealtimeError };

const NAME = /^[-\w=@,.;]{1,164}$/;
const USER_CHANNEL = "#server-to-user-";

export const connect = (options = {}) => new RealtimeClient(options);

class RealtimeClient {
  channels = new Map();
  user = Object.assign(new Stream(), { id: null, data: null });
  watchlist = new Emitter();

  #options;
  #request;
  #connection;
  #ask; // for the authorization of one channel on the present connection
  #memory = {};
  #events = new Emitter();
  #failure;
  #reported;

  constructor({
    configUrl = "/realtime/config",
    headers = () => ({}),
    credentials = "same-origin",
    csrfToken = () => globalThis.document?.querySelector("meta[name=csrf-token]")?.content,
    fetch = (...args) => globalThis.fetch(...args),
    ...options
  }) {
    const base = new URL(configUrl, page());
    this.#options = { ...options, base, headers, credentials, csrfToken, fetch };
    this.#request = requester(this.#options);
    this.#connection = keepConnected({ ...this.#options, request: this.#request }, {
      state: (state, detail) => this.#changed(state, detail),
      opened: (session) => this.#opened(session),
      dropped: () => this.channels.forEach((channel) => channel.interrupt()),
      told: {
        event: (...event) => this.#receive(...event),
        position: (name, position) => this.#on(name, (channel) => (channel.position = position)),
        authorized: (name, answer) => this.#on(name, (channel) => channel.authorized(answer)),
        denied: (name, error) => this.#on(name, (channel) => channel.become("denied", error)),
        report: (error) => this.#report(error),
        wanted: () => [...this.channels.values()].flatMap(({ name, state }) => state === "denied" ? [] : name),
      },
    });
    this.#connection.attempt();
  }

  get state() {
    return this.#connection.state;
  }

  get socketId() {
    return this.#connection.session?.socketId ?? null;
  }

  on(event, handler) {
    return this.#events.on(event, handler);
  }

  subscribe(name) {
    if (this.state === "closed") throw new RealtimeError("closed", "this client is closed");
    if (!NAME.test(name)) throw new RealtimeError("invalid_channel", `"${name}" is no channel name`);
    let channel = this.channels.get(name);
    if (channel && channel.state !== "denied") return channel;
    const Kind = name.startsWith("presence-") ? PresenceChannel : Channel;
    channel ??= new Kind(name, {
      publish: (...event) => this.#connection.session.transport.publish?.(name, ...event) ?? false,
      leave: () => this.#leave(channel),
      report: (error, heard) => this.#report(error, heard),
      decrypt: this.#options.decrypt,
    });
    this.channels.set(name, channel);
    channel.become("subscribing");
    this.#join(channel);
    return channel;
  }

  fetch(input, init = {}) {
    const { base, credentials, csrfToken, fetch } = this.#options;
    const url = new URL(input.url ?? input, page() ?? base);
    const headers = new Headers(init.headers ?? input.headers);
    const set = (name, value) => value && url.origin === base.origin && headers.set(name, value);
    set("X-Socket-ID", this.socketId);
    set("X-CSRF-Token", csrfToken());
    return fetch(input.url ? input : url.href, { credentials, ...init, headers });
  }

  close() {
    if (this.state === "closed") return;
    this.#connection.end("closed");
    this.channels.forEach((channel) => channel.become("unsubscribed"));
    this.channels.clear();
  }

  #opened(session) {
    const { config, socketId, signal } = session;
    this.#ask = authorizer({
      path: config.auth,
      socketId,
      signal,
      request: this.#request,
      memory: this.#memory,
      report: (error) => this.#report(error),
      answered: (name, answer, error) => this.#answered(name, answer, error),
    });
    this.channels.forEach((channel) => this.#join(channel));
    if (!session.resumed) this.#signIn(session);
  }

  #changed(state, detail) {
    if (state === "failed") {
      this.#failure = detail.error;
      this.channels.forEach((channel) => channel.become("denied", detail.error));
      this.#report(detail.error);
    }
    this.#events.emit("state", state, detail);
  }

  #receive(name, event, data, meta) {
    if (name === null) this.#receiveOwn(event, data);
    else if (name === USER_CHANNEL + this.user.id) this.user.receive(event, data, meta);
    else this.#on(name, (channel) => channel.receive(event, data, { channel: name, ...meta }));
  }

  #receiveOwn(event, data) {
    if (event === "pusher:signin_success") {
      this.user.data = decode(data.user_data);
      this.user.id = String(this.user.data.id);
      const { transport } = this.#connection.session;
      transport.subscribe(USER_CHANNEL + this.user.id, null, this.user.position);
    } else if (event === "pusher:watchlist_events") {
      for (const { name, user_ids: ids } of data.events) this.watchlist.emit(name, ids);
    } else if (event === "pusher:error") {
      this.#report(new RealtimeError("server_error", data.message, { serverCode: data.code }));
    }
  }

  async #signIn({ config, socketId, signal, transport }) {
    if (!config.userAuth || !transport.signIn || this.#options.signIn === false) return;
    const ask = () => this.#request(config.userAuth, { form: { socket_id: socketId }, signal });
    try {
      transport.signIn(await persist(ask, { signal, report: (error) => this.#report(error) }));
    } catch (error) {
      if (signal.aborted) return;
      this.user.id = this.user.data = null;
      const isGuest = error.code === "denied" || error.code === "unauthorized";
      if (!isGuest) this.#report(error);
    }
  }

  #join(channel) {
    const { name, position, state } = channel;
    const { session } = this.#connection;
    const isReady = session?.isOpen && state === "subscribing";
    const isAsked = isReady && needsAuth(name) && !session.transport.authorizes;
    const hopeless = this.#failure ?? (isAsked && undecryptable(name, this.#options));
    // Later: the caller has yet to put on its onError.
    const deny = () => channel.state === "subscribing" && channel.become("denied", hopeless);
    if (hopeless) setTimeout(deny);
    else if (isAsked) this.#ask(name);
    else if (isReady) session.transport.subscribe(name, null, position);
  }

  #answered(name, answer, error) {
    this.#on(name, (channel) => {
      if (error) return channel.become("denied", error);
      channel.authorized(answer);
      this.#connection.session.transport.subscribe(name, answer, channel.position);
    });
  }

  #leave({ name }) {
    this.channels.delete(name);
    const { session } = this.#connection;
    if (session?.isOpen) session.transport.unsubscribe(name);
  }

  #on(name, act) {
    const channel = this.channels.get(name);
    if (channel) act(channel);
  }

  // Each error once; into the console if nobody listens.
  #report(error, heard) {
    if (error === this.#reported) return;
    this.#reported = error;
    if (!this.#events.emit("error", error) && !heard) console.warn(`realtime: ${error.message}`);
  }
}

function undecryptable(name, { decrypt }) {
  if (!isEncrypted(name) || decrypt) return;
  const why = `${name} is encrypted: give connect({decrypt}) what opens its events`;
  return new RealtimeError("decrypt_required", why, { channel: name });
}

// Read at each use: importing this module touches no page, so servers and workers can.
const page = () => globalThis.document?.baseURI ?? globalThis.location?.href;
