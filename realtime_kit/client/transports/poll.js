// Polling: GET /events as JSON, for all channels in one request. What it shares with `sse`, and what
// it cannot do: reading.js.
import { look } from "../log.js";
import { interval, isHidden, reading } from "./reading.js";

const WAIT_S = 25; // that the application may take to answer, if it can wait
const WAITED_MS = 1000; // an empty answer after this long was waited for
const SPREAD = 0.25; // that much longer at most, so that pages do not ask in step

export const supported = ({ events }) => Boolean(events);

export const open = (cfg, hooks) => reading(cfg, hooks, makeOnce);

function makeOnce({ cfg, places, subscribed, refuse, ...reader }) {
  let tag;
  let retry = 3000;
  let canWait = true;

  return async function once(signal) {
    const asked = new Map(places);
    const isFirst = [...asked.keys()].some((name) => !subscribed.has(name)); // which need not wait
    const wait = isFirst || isHidden() ? 0 : WAIT_S;
    const began = Date.now();
    const answer = await look(cfg, asked, { wait, tag, signal, refuse });
    if (signal.aborted || !answer) return 0;
    reader.answered(asked.keys());
    for (const event of answer.events) reader.event(event);
    const entries = Object.entries(answer.channels);
    for (const [name, { position, recovered }] of entries) reader.moved(name, position, !recovered);
    ({ tag, retry = retry } = answer);
    if (isFirst || entries.some(([, { more }]) => more)) return 0;
    const isLate = Date.now() - began >= WAITED_MS;
    if (isLate || !answer.events.length) canWait = isLate && wait > 0;
    return canWait ? 0 : interval(retry * (1 + SPREAD * Math.random()));
  };
}
