// GET /events: what happened on channels since a position. The format: realtime_kit/web/events.py.
import { answer, refusal } from "./auth.js";
import { RealtimeError } from "./events.js";

export const MAX_CHANNELS = 100; // in one request
const TIMEOUT_MS = 15_000;

/**
 * Asks for what came after `places`, a Map of channel → position; null: from now on. Resolves to what
 * `read` makes of the response; to null, if no channel is left. Those that are refused are told to
 * `refuse(name, error)`, deleted from `places`, and the others asked for without them.
 */
export async function enter({ events, request, sockets }, places, { more, read, refuse, ...options }) {
  while (places.size) {
    const names = [...places.keys()];
    const query = new URLSearchParams(names.map((name) => ["channel", name]));
    for (const [name, value] of Object.entries(options.query ?? {})) query.set(name, value);
    // In headers, because a URL takes some servers only 4 kB.
    const where = { "Last-Event-ID": [...places.values()].map((at) => at ?? "").join() };
    if (sockets.length) where["X-Socket-ID"] = sockets.join();
    const found = await request(`${events}?${query}`, {
      ...options,
      more: { ...where, ...more },
      read: async (response, path) => {
        const refused = await refusals(response);
        const known = refused.filter(([name]) => places.delete(name));
        for (const [name, error] of known) refuse(name, error);
        return known.length ? undefined : read(response, path);
      },
    });
    if (found) return found;
  }
  return null;
}

async function refusals(response) {
  const { status } = response;
  if (status !== 403 && status !== 409) return [];
  const { channels } = await response.json().catch(() => ({}));
  if (status === 403) {
    const entries = Object.entries(channels ?? {});
    return entries.map(([channel, entry]) => [channel, refusal(channel, entry, { channel })]);
  }
  return (channels ?? []).map((channel) => [channel, noHistory(channel)]);
}

const noHistory = (channel) =>
  new RealtimeError("no_history", `${channel}: this channel keeps no history`, { channel, status: 409 });

/**
 * One look: `{events, channels, retry, tag}`; both are empty if nothing is new since `tag`. With
 * `wait` the application may take that many seconds until there is something.
 */
export function look(cfg, places, { wait, tag, ...options }) {
  const more = tag ? { "If-None-Match": tag } : {};
  const query = { unkept: "tell", ...(wait && { wait }) }; // a 409 would be red in every console
  const timeout = TIMEOUT_MS + (wait ?? 0) * 1000;
  const read = async (response, path) => {
    const found = await readJson(response, path);
    for (const [name, { status }] of Object.entries(found.channels)) {
      if (!status) continue;
      delete found.channels[name];
      if (places.delete(name)) options.refuse(name, noHistory(name));
    }
    return found;
  };
  return enter(cfg, places, { ...options, more, query, timeout, read });
}

async function readJson(response, path) {
  const tag = response.headers.get("ETag");
  if (response.status === 304) return { events: [], channels: {}, tag };
  return { ...(await answer(response, path)), tag };
}

/** An event as it is written there, as a transport's hook takes it. */
export function frameOf({ channel, name, data, id, epoch, offset, mutation }) {
  const meta = { channel, id, epoch, offset, mutation };
  for (const key in meta) if (meta[key] === undefined) delete meta[key];
  return [name, data, meta];
}

/** Where an event is. A source's says it itself. */
export const placeOf = ({ position, epoch, offset }) => position ?? `${epoch}:${offset}`;
