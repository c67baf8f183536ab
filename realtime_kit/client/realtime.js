// The browser client of realtime-kit; see realtime.d.ts.
import { authorizer, requester } from "./auth.js";
import { Channel, isEncrypted, needsAuth } from "./channel.js";
import { keepConnected } from "./connection.js";
import { Emitter, RealtimeError, Stream } from "./events.js";
import { PresenceChannel } from "./presence.js";

export { RealtimeError };

const NAME = /^[-\w=@,.;]{1,164}$/;

export const connect = (options = {}) => new RealtimeClient(options);

class RealtimeClient {
  channels = new Map();
  user = Object.assign(new Stream(), { id: null, data: null });
  watchlist = new Emitter();

  #options;
  #request;
  #connection;
  #ask; // authorizes a channel
  #memory = {};
  #order; // resume.js
  #signer; // user.js
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
    const channels = () => [...this.channels.values()];
    this.#connection = keepConnected({ ...this.#options, request: this.#request }, {
      state: (state, detail) => this.#changed(state, detail),
      prepare: (cfg) => this.#prepare(cfg),
      opened: (session) => this.#opened(session),
      dropped: () => {
        this.#order?.pause();
        for (const channel of channels()) channel.interrupt();
      },
      told: {
        event: (...event) => this.#receive(...event),
        position: (name, position) => this.#on(name, (channel) => (channel.position = position)),
        gap: (name, position) => this.#on(name, (channel) => this.#order.lose(channel, position)),
        authorized: (name, answer) => this.#on(name, (channel) => channel.authorized(answer)),
        denied: (name, error) => this.#on(name, (channel) => channel.become("denied", error)),
        report: this.#report,
        wanted: () => channels().filter(({ state }) => state !== "denied"),
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

  onGap(handler) {
    return this.on("gap", handler);
  }

  subscribe(name, { position = null } = {}) {
    if (this.state === "closed") throw new RealtimeError("closed", "this client is closed");
    if (!NAME.test(name)) throw new RealtimeError("invalid_channel", `"${name}" is no channel name`);
    let channel = this.channels.get(name);
    if (channel && channel.state !== "denied") return channel;
    const Kind = name.startsWith("presence-") ? PresenceChannel : Channel;
    channel ??= new Kind(name, {
      publish: (...event) => this.#connection.session.transport.publish?.(name, ...event) ?? false,
      leave: () => this.#leave(channel),
      report: this.#report,
      decrypt: this.#options.decrypt,
    });
    this.channels.set(name, channel);
    channel.position ??= position;
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
    this.#connection.end("closed");
    this.channels.forEach((channel) => channel.become("unsubscribed"));
    this.channels.clear();
  }

  async #prepare({ events, userAuth }) {
    const tell = (gap) => this.#events.emit("gap", gap);
    const hub = { client: this, request: this.#request, report: this.#report, tell };
    const load = [events && import("./resume.js"), userAuth && import("./user.js")];
    const [resume, user] = await Promise.all(load);
    this.#order ??= resume?.keepOrder(hub);
    this.#signer ??= user?.makeSigner(hub);
  }

  #opened(session) {
    this.#ask = authorizer({
      ...session,
      path: session.cfg.auth,
      request: this.#request,
      memory: this.#memory,
      report: this.#report,
      answered: (name, answer, error) => this.#answered(name, answer, error),
    });
    this.#order?.open(session);
    this.channels.forEach((channel) => this.#join(channel));
    if (!session.resumed) this.#signer?.signIn(session);
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
    if (name === null) {
      this.#signer?.receive(event, data);
      if (event !== "pusher:error") return;
      this.#report(new RealtimeError("server_error", data.message, { serverCode: data.code }));
    } else if (name === `#server-to-user-${this.user.id}`) this.user.receive(event, data, meta);
    else {
      const told = [event, data, { channel: name, ...meta }];
      this.#on(name, (channel) => (this.#order ? this.#order.receive(channel, ...told) : channel.receive(...told)));
    }
  }

  #join(channel) {
    const { name, position, state } = channel;
    const { session } = this.#connection;
    const isReady = session?.isOpen && state === "subscribing";
    const isAsked = isReady && needsAuth(name) && !session.transport.authorizes;
    const hopeless = this.#failure ?? (isAsked && undecryptable(name, this.#options));
    // After onError is put on.
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

  // Each error once.
  #report = (error, heard) => {
    if (error === this.#reported) return;
    this.#reported = error;
    if (!this.#events.emit("error", error) && !heard) console.warn(`realtime: ${error.message}`);
  };
}

function undecryptable(name, { decrypt }) {
  if (!isEncrypted(name) || decrypt) return;
  const why = `${name} is encrypted: give connect({decrypt}) what opens its events`;
  return new RealtimeError("decrypt_required", why, { channel: name });
}

// Servers and workers import this, too.
const page = () => globalThis.document?.baseURI ?? globalThis.location?.href;
