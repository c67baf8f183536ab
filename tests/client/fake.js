/**
 * A Pusher-protocol server and the application's endpoints, in this process and without sockets,
 * so that every fault is exact and fake timers govern all of it. `server.WebSocket` and
 * `server.fetch` go into `connect()`.
 */
import { connect } from "../../realtime_kit/client/realtime.js";
// Loaded, so that no test waits for the disk:
import "../../realtime_kit/client/resume.js";
import "../../realtime_kit/client/transports/socket.js";
import "../../realtime_kit/client/upgrade.js";
import "../../realtime_kit/client/user.js";
import { within } from "./time.js";

export const CONFIG_URL = "http://app.test/realtime/config";

export const CONFIG = {
  provider: "local",
  transports: ["socket"],
  prefix: "/realtime",
  auth: "/realtime/auth",
  userAuth: null,
  trigger: null,
  events: null,
  client: { socket: { key: "app-key", host: "ws.test", port: 6001, tls: false } },
};

/** Waits for what happens in promises and messages; on a real clock, whatever timers are faked. */
export const until = within(5000, setImmediate);

export const json = (body, status = 200, headers = {}) =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });

class FakeSocket {
  readyState = 0;
  received = []; // frames that the client sent
  subscribed = new Set();

  constructor(server, url) {
    this.server = server;
    this.url = new URL(url);
    server.sockets.push(this);
    this.socketId = `1.${server.sockets.length}`;
    setImmediate(() => {
      if (this.readyState !== 0) return;
      this.readyState = 1;
      server.onConnect(this);
    });
  }

  // The client's side

  send(text) {
    if (this.readyState !== 1) throw new Error("sent on a socket that is not open");
    const frame = JSON.parse(text);
    this.received.push(frame);
    setImmediate(() => this.readyState === 1 && this.server.onFrame(this, frame));
  }

  close(code = 1000) {
    if (this.readyState > 1) return;
    this.closedWith = code;
    this.drop(code);
  }

  // The server's side

  establish(data = { socket_id: this.socketId, activity_timeout: 120 }) {
    this.push({ event: "pusher:connection_established", data: JSON.stringify(data) });
  }

  push(frame) {
    const data = typeof frame === "string" ? frame : JSON.stringify(frame);
    if (this.readyState === 1) this.onmessage?.({ data });
  }

  event(channel, event, data, more = {}) {
    this.push({ event, channel, data: JSON.stringify(data), ...more });
  }

  drop(code = 1006, reason = "") {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  sent(event) {
    return this.received.filter((frame) => frame.event === event);
  }
}

export class FakeServer {
  sockets = [];
  requests = []; // {path, method, headers, body}
  config = structuredClone(CONFIG);
  rosters = {}; // channel → {user id: info}

  constructor() {
    const server = this;
    this.WebSocket = class {
      constructor(url) {
        return new FakeSocket(server, url);
      }
    };
    this.fetch = (url, init = {}) => this.#fetch(new URL(url), init);
  }

  get socket() {
    return this.sockets.at(-1);
  }

  // Replace these for faults.

  onConnect(socket) {
    socket.establish();
  }

  onFrame(socket, frame) {
    const { channel } = frame.data ?? {};
    if (frame.event === "pusher:ping") socket.push({ event: "pusher:pong", data: "{}" });
    if (frame.event === "pusher:subscribe") this.onSubscribe(socket, channel, frame.data);
    if (frame.event === "pusher:unsubscribe") socket.subscribed.delete(channel);
  }

  onSubscribe(socket, channel) {
    socket.subscribed.add(channel);
    const hash = this.rosters[channel] ?? {};
    const ids = Object.keys(hash);
    const data = channel.startsWith("presence-") ? { presence: { ids, hash, count: ids.length } } : {};
    socket.event(channel, "pusher_internal:subscription_succeeded", data);
  }

  onConfig() {
    return json(this.config);
  }

  onAuth({ channels }) {
    return json({ channels: Object.fromEntries(channels.map((name) => [name, this.grant(name)])) });
  }

  grant(name) {
    const auth = { auth: `app-key:${name}` };
    return name.startsWith("presence-") ? { ...auth, channel_data: '{"user_id":"1"}' } : auth;
  }

  onEvents() {
    return json({}, 404);
  }

  onUserAuth() {
    return json({ auth: "app-key:user", user_data: '{"id":"7","user_info":{"name":"Ada"}}' });
  }

  async #fetch(url, { method = "GET", headers, body = null, signal, ...rest }) {
    const query = url.searchParams;
    const request = { path: url.pathname, query, method, headers: new Headers(headers), body, ...rest };
    this.requests.push(request);
    const answer = {
      "/realtime/config": () => this.onConfig(request),
      "/realtime/auth": () => this.onAuth(JSON.parse(body), request),
      "/realtime/events": () => this.onEvents(request, signal),
      "/realtime/user-auth": () => this.onUserAuth(body, request),
    }[url.pathname];
    await new Promise(setImmediate);
    return unlessAborted(signal, async () => (answer ? answer() : json({}, 404)));
  }

  asked(path) {
    return this.requests.filter((request) => request.path === `/realtime/${path}`);
  }

  /** A client of this server, closed when the test ends; its states and errors are kept. */
  connect(t, options = {}) {
    const { WebSocket, fetch } = this;
    const client = connect({ configUrl: CONFIG_URL, WebSocket, fetch, ...options });
    const states = [];
    const errors = [];
    client.on("state", (state, detail) => states.push({ state, ...detail }));
    client.on("error", (error) => errors.push(error));
    t.after(() => client.close());
    return Object.assign(client, { states, errors });
  }

  async connected(t, options) {
    const client = this.connect(t, options);
    await until(() => client.state === "connected", "connected");
    return client;
  }
}

// As fetch does: an abort ends it at whatever point it is.
function unlessAborted(signal, act) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal?.aborted) return stop();
    signal?.addEventListener("abort", stop);
    act().then(resolve, reject);
  });
}

/** Stands in for the window: its events, whether it is seen, and what navigator says. */
export function openPage(t) {
  const page = new EventTarget();
  const names = ["addEventListener", "removeEventListener"];
  for (const name of names) globalThis[name] = page[name].bind(page);
  globalThis.document = { visibilityState: "visible", querySelector: () => null };
  const onLine = (value) => Object.defineProperty(globalThis, "navigator", { value: { onLine: value }, configurable: true });
  t.after(() => {
    for (const name of [...names, "document", "navigator"]) delete globalThis[name];
  });
  const fire = (name, more) => page.dispatchEvent(Object.assign(new Event(name), more));
  const show = (state) => {
    document.visibilityState = state;
    fire("visibilitychange");
  };
  return { fire, show, onLine };
}
