/** The application's event log and its GET /events, for FakeServer. */
import { FakeServer, json } from "./fake.js";

export class FakeLog {
  channels = new Map(); // name → {epoch, entries: [{id, name, data, offset, exclude}], last, oldest}
  denied = new Set();
  page = 500;
  waiting = new Set(); // requests that wait for something
  clock = 1_700_000_000_000;
  #epochs = 0;
  #ids = 0;

  /** Keeps a channel's history. */
  keep(...names) {
    for (const name of names) this.channels.set(name, this.#begun());
    return this;
  }

  #begun() {
    return { epoch: `e${(this.#epochs += 1)}`, entries: [], last: 0, oldest: 1, begun: this.clock };
  }

  /** The history of a channel is lost, and begins anew. */
  forget(name) {
    this.clock += 1;
    this.channels.set(name, this.#begun());
  }

  /** Only the newest `count` are retained. */
  trim(name, count) {
    const log = this.channels.get(name);
    log.oldest = Math.max(log.oldest, log.last - count + 1);
  }

  append(channel, name, data, { exclude } = {}) {
    const log = this.channels.get(channel);
    log.last += 1;
    const entry = { id: `i${(this.#ids += 1)}`, name, data, epoch: log.epoch, offset: log.last, exclude };
    log.entries.push(entry);
    for (const tell of [...this.waiting]) tell();
    return entry;
  }

  position(name) {
    const { epoch, last } = this.channels.get(name);
    return last ? `${epoch}:${last}` : `@${this.clock}:0`;
  }

  read(name, from, sockets) {
    const log = this.channels.get(name);
    const newest = this.position(name);
    if (!from) return { events: [], position: newest, recovered: true, more: false };
    const cut = from.lastIndexOf(":");
    const epoch = from.slice(0, cut);
    const after = epoch[0] === "@" ? 0 : Number(from.slice(cut + 1));
    const isKnown = epoch[0] === "@" ? epoch.slice(1) >= log.begun : epoch === log.epoch;
    if (!isKnown || after < log.oldest - 1 || after > log.last) {
      return { events: [], position: newest, recovered: false, more: false };
    }
    const until = Math.min(log.last, after + this.page);
    const events = log.entries
      .filter(({ offset, exclude }) => offset > after && offset <= until && !sockets.includes(exclude))
      .map(({ exclude, ...entry }) => ({ channel: name, time: 1, ...entry }));
    const position = log.last ? `${log.epoch}:${until}` : newest;
    return { events, position, recovered: true, more: until < log.last };
  }

  without(names) {
    return names.filter((name) => !this.channels.has(name));
  }

  refusal(names, isTold) {
    const denied = names.filter((name) => this.denied.has(name));
    const entry = { status: 403, error: "denied" };
    if (denied.length) return json({ error: "denied", channels: Object.fromEntries(denied.map((name) => [name, entry])) }, 403);
    const without = this.without(names);
    return without.length && !isTold ? json({ error: "no history", channels: without }, 409) : null;
  }

  asked({ query, headers }) {
    const names = query.getAll("channel");
    const places = headers.get("Last-Event-ID")?.split(",") ?? names.map(() => "");
    return { names, places, sockets: headers.get("X-Socket-ID")?.split(",") ?? [] };
  }

  json(request) {
    const { names, places, sockets } = this.asked(request);
    const refused = this.refusal(names, request.query.get("unkept") === "tell");
    if (refused) return refused;
    const without = this.without(names);
    const pages = names
      .map((name, at) => [name, places[at]])
      .filter(([name]) => !without.includes(name))
      .map(([name, place]) => [name, this.read(name, place, sockets)]);
    const events = pages.flatMap(([, page]) => page.events);
    const tag = `"${pages.map(([, page]) => page.position)}"`;
    const isIdle = !events.length && !without.length && pages.every(([, page]) => page.recovered);
    if (isIdle && request.headers.get("If-None-Match") === tag) return new Response(null, { status: 304, headers: { ETag: tag } });
    const channels = Object.fromEntries(pages.map(([name, { events: _, ...page }]) => [name, page]));
    for (const name of without) channels[name] = { status: 409, error: "no history" };
    return json({ position: tag.slice(1, -1), events, channels, retry: 3000 }, 200, { ETag: tag });
  }
}

/** A server whose application keeps the history of these channels. */
export function serverWith(...names) {
  const server = new FakeServer();
  const log = new FakeLog().keep(...names);
  server.config.events = "/realtime/events";
  server.onEvents = (request) => log.json(request);
  /** As the facade triggers: into the log, then out. */
  const trigger = (channel, data, { exclude, isLost } = {}) => {
    const { id, epoch, offset } = log.append(channel, "x", data, { exclude });
    const send = () => {
      for (const socket of server.sockets) {
        const hears = socket.subscribed.has(channel) && socket.socketId !== exclude;
        if (hears) socket.event(channel, "x", data, { id, epoch, offset });
      }
    };
    if (!isLost) send();
    return send;
  };
  return Object.assign(server, { log, trigger });
}

/** An event stream that the test writes; `ended`: the client let go of it. */
export class FakeStream {
  ended = false;

  constructor(request, signal) {
    this.request = request;
    const body = new ReadableStream({
      start: (controller) => (this.controller = controller),
      cancel: () => void (this.ended = true),
    });
    signal?.addEventListener("abort", () => (this.ended = true));
    this.response = new Response(body, { headers: { "Content-Type": "text/event-stream; charset=utf-8" } });
  }

  write(text) {
    if (!this.ended) this.controller.enqueue(typeof text === "string" ? new TextEncoder().encode(text) : text);
    return this;
  }

  event(id, { channel, ...event }) {
    return this.write(`id: ${id}\ndata: ${JSON.stringify({ channel, ...event })}\n\n`);
  }

  end() {
    if (!this.ended) this.controller.close();
    this.ended = true;
  }

  fail() {
    if (!this.ended) this.controller.error(new TypeError("network error"));
    this.ended = true;
  }
}

/** `serverWith`, and streams that are opened, in `streams`; they begin as the application's do. */
export function streamingServer(...names) {
  const server = serverWith(...names);
  const streams = [];
  server.config.transports = ["sse", "poll"];
  server.onEvents = (request, signal) => {
    if (!request.headers.get("Accept").includes("event-stream")) return server.log.json(request);
    const refused = server.log.refusal(server.log.asked(request).names);
    return refused ?? server.onStream(request, signal);
  };
  server.onStream = (request, signal) => {
    const stream = new FakeStream(request, signal);
    const { names: asked, places, sockets } = server.log.asked(request);
    const began = asked.map((name, at) => places[at] || server.log.position(name));
    streams.push(stream.write(`retry: 1000\n\nid: ${began}\n\n`));
    for (const [at, name] of asked.entries()) {
      for (const event of server.log.read(name, places[at], sockets).events) {
        began[at] = `${event.epoch}:${event.offset}`;
        stream.event(began, event);
      }
    }
    return stream.response;
  };
  return Object.assign(server, { streams });
}
