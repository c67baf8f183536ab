// `sse` over the browser's own EventSource: with cookies, or, where `connect({headers})` has any, with
// tickets, because an EventSource can send none.
import { RealtimeError } from "../events.js";
import { look } from "../log.js";

const RETRY_MS = 1000;

export function makeNative({ cfg, places, refuse, ...reader }) {
  const { base, events, request, credentials, sockets } = cfg;

  async function address(names, signal) {
    const url = new URL(events, base);
    for (const name of names) url.searchParams.append("channel", name);
    const position = [...places.values()].map((at) => at ?? "").join();
    url.searchParams.set("position", position);
    url.searchParams.set("socket_id", sockets.join());
    const own = new Headers(await cfg.headers({ refresh: false }));
    if ([...own].length) {
      const { ticket } = await request(events, { json: { channels: names }, signal });
      url.searchParams.set("ticket", ticket);
    }
    return url;
  }

  /** Why it does not open, it does not say: who is refused, a look says. */
  async function explain(signal) {
    const asked = new Map(places);
    const answer = await look(cfg, asked, { signal, refuse });
    if (signal.aborted || !answer) return;
    reader.answered(asked.keys());
    for (const event of answer.events) reader.event(event);
    for (const [name, { position, recovered }] of Object.entries(answer.channels)) {
      reader.moved(name, position, !recovered);
    }
  }

  function follow(names, url, signal) {
    return new Promise((resolve, reject) => {
      const source = new EventSource(url, { withCredentials: credentials === "include" });
      const end = (act) => {
        source.close();
        act();
      };
      const on = (name, act) => {
        source.addEventListener(name, ({ data, lastEventId }) => {
          if (signal.aborted) return;
          try {
            act(JSON.parse(data));
          } catch (cause) {
            return end(() => reject(cause));
          }
          lastEventId.split(",").forEach((at, n) => at && reader.moved(names[n], at));
        });
      };
      on("message", (told) => reader.event(told));
      on("realtime:gap", ({ channel, position }) => reader.moved(channel, position, true));
      on("realtime:end", () => end(() => resolve(RETRY_MS)));
      source.onopen = () => reader.answered(names);
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED || url.searchParams.has("ticket")) {
          end(() => resolve(null));
        }
      };
      signal.addEventListener("abort", () => end(() => resolve(0)));
      if (signal.aborted) end(() => resolve(0));
    });
  }

  return async function once(signal) {
    const names = [...places.keys()];
    const url = await address(names, signal);
    const wait = await follow(names, url, signal);
    if (wait === null) await explain(signal);
    if (signal.aborted) return 0;
    return wait ?? RETRY_MS;
  };
}
