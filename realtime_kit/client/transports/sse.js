// Server-Sent Events, read with fetch so that headers work: one stream for all channels. Where the
// application answers at once with what there is and `retry:`, this is a poller with that interval.
// What it shares with `poll`, and what it cannot do: reading.js.
import { answer } from "../auth.js";
import { RealtimeError } from "../events.js";
import { enter } from "../log.js";
import { parser } from "./event-stream.js";
import { interval, reading } from "./reading.js";

const FIRST_MS = 15_000; // until the first byte: a proxy that holds streams back would never send it
const SILENCE_MS = 45_000; // the application says something every 15 s
const CHECK_MS = 20_000;
const SHORT_MS = 5000; // no stream, but an answer

const canStream = () => Boolean(globalThis.ReadableStream && globalThis.TextDecoder);
const isNative = ({ eventSource }) => Boolean(globalThis.EventSource && (eventSource || !canStream()));

export const supported = (cfg) => Boolean(cfg.events && (canStream() || isNative(cfg)));

export function open(cfg, hooks) {
  let arm = () => {};
  const make = (reader) => makeOnce(reader, (armed) => (arm = armed));
  return reading(cfg, hooks, make, () => arm(CHECK_MS));
}

function makeOnce(reader, armed) {
  const { cfg, places, refuse } = reader;
  if (isNative(cfg)) {
    const native = import("./sse-native.js").then(({ makeNative }) => makeNative(reader));
    return async (signal) => (await native)(signal);
  }
  let retry = 1000;

  function take(names, { id, event, data, retry: wait = retry }) {
    retry = wait;
    const told = data && JSON.parse(data);
    if (event === "realtime:gap") reader.moved(told.channel, told.position, true);
    else if (told && !event) reader.event(told);
    id?.split(",").forEach((position, at) => reader.moved(names[at], position));
  }

  return async function once(signal) {
    const asked = new Map(places);
    const began = Date.now();
    const more = { Accept: "text/event-stream" };
    const response = await enter(cfg, asked, { more, read: isStream, signal, refuse });
    if (!response) return 0;
    const stream = response.body.getReader();
    let timer;
    let isSilent = false;
    const stop = () => stream.cancel().catch(() => {});
    const silent = () => {
      isSilent = true;
      stop();
    };
    const watch = (ms) => {
      clearTimeout(timer);
      timer = setTimeout(silent, ms);
    };
    signal.addEventListener("abort", stop);
    armed(watch);
    watch(FIRST_MS);
    const text = new TextDecoder();
    const names = [...asked.keys()];
    const parse = parser((frame) => signal.aborted || take(names, frame));
    try {
      if (signal.aborted) return 0;
      for (;;) {
        const { done, value } = await stream.read();
        if (signal.aborted) return 0;
        if (isSilent) throw new RealtimeError("connection_lost", "the event stream is silent");
        if (done) return Date.now() - began < SHORT_MS ? interval(retry) : retry;
        watch(SILENCE_MS);
        reader.answered(names);
        parse(text.decode(value, { stream: true }));
      }
    } finally {
      clearTimeout(timer);
      armed(() => {});
      stop();
    }
  };
}

function isStream(response, path) {
  const type = response.headers.get("Content-Type") ?? "";
  if (response.status === 200 && type.startsWith("text/event-stream")) return response;
  if (response.status !== 200) return answer(response, path); // which throws
  throw new RealtimeError("bad_answer", `${path}: ${type} is no event stream`);
}
