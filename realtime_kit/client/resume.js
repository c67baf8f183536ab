// Order, repeats and holes: what is done with the events of channels that keep history.
//
//  1. A channel's position says how far it was read: `EPOCH:OFFSET`, all up to there. `@TIME:0` is a
//     channel without events; what comes next is offset 1 of whatever epoch, but of none like
//     `BEGUN_…` whose log has begun after that time: another one may have been lost.
//  2. It comes from `subscribe(name, {position})`; else from the first frame with an offset, whatever
//     that is; else from the log, which is asked after `subscription_succeeded`. `ready()` waits for
//     it: what is triggered afterwards is not lost.
//  3. A frame without an offset is delivered as it comes. Of the others one at or before the position
//     is dropped; the next one is delivered, and then those that are held and follow it.
//  4. All others leave a hole, or are of another epoch: they are held, HELD for each channel (beyond
//     those they are dropped, as the log has them), and if they still are after GRACE_MS, the log is
//     asked: two triggers may overtake each other. Of an epoch that a gap has ended they are dropped.
//  5. The log may know events whose frames are on their way yet. So until the first frame after a
//     position that the log gave (2), a frame at or before it is delivered, and takes it back there.
//  6. The log is asked for all channels at once that need it, one request at a time: after each
//     subscription (2, or to catch up), for holes (4), where there is more, or where it knew more
//     than frames have brought (5). What fails for the moment is tried again, later each time.
//  7. Its answer: events after the position are delivered, in their order. What it leaves out is this
//     client's own. Then the position is the answer's, if that is ahead; held frames at or before it
//     are dropped; 3 goes for the others. `recovered: false`: onGap, and on from the answer's position, or
//     from before the held frames that lead up to it. (If frames have moved the position meanwhile,
//     it is asked again from there.)
//  8. If TRIES answers do not explain a held frame: of another epoch it is dropped; else onGap, and it
//     is delivered.
//  9. A lost connection forgets frames held and questions asked; positions stay, so that the next
//     subscription catches up.
// 10. A channel that is refused (no history, denied, a bad request) is not asked for again before the
//     next subscription; without history never. It has no position then, and what would be a hole is
//     onGap with `position: null`.
// 11. Transports that read the log themselves (`inOrder`) bring everything in order: no holes for them.
import { backoff } from "./backoff.js";
import { unwrap } from "./events.js";
import { frameOf, look, MAX_CHANNELS, placeOf } from "./log.js";

const GRACE_MS = 250;
const COLLECT_MS = 10; // subscriptions come one by one
const HELD = 500;
const TRIES = 3;

function parse(position) {
  const cut = position.lastIndexOf(":");
  return { epoch: position.slice(0, cut), offset: Number(position.slice(cut + 1)) };
}

/** How far ahead of a position something is; NaN: of another epoch. */
function ahead(position, { epoch, offset }) {
  const at = parse(position);
  return at.epoch === epoch || isFirst(at.epoch, epoch) ? offset - at.offset : NaN;
}

const isFirst = (empty, epoch) =>
  empty[0] === "@" && !(/^\d+_/.test(epoch) && parseInt(epoch) > empty.slice(1));

const isAhead = (position, next) =>
  position === null || position[0] === "@" || !(ahead(position, parse(next)) <= 0);

/** `hub`: the client, `report(error)`, and `tell(gap)`: whether somebody heard it. */
export function keepOrder({ client: { channels }, report, tell }) {
  const states = new WeakMap(); // by channel
  const due = new Set(); // channels to ask for
  const holed = new Set(); // channels with frames held
  let session, timer, timerAt, asking;
  let attempts = 0;
  let notBefore = 0;

  const isLive = (channel) => channels.get(channel.name) === channel;
  function stateOf(channel) {
    let state = states.get(channel);
    if (!state) states.set(channel, (state = { held: new Map(), isFresh: false, refused: null }));
    return state;
  }

  function known(channel) {
    channel.isBehind = false;
    channel.settle();
  }

  function deliver(channel, frame, position = placeOf(frame[2])) {
    if (!isLive(channel)) return; // a handler has just left it
    stateOf(channel).isFresh = false;
    channel.position = position;
    channel.receive(...frame);
  }

  function lose(channel, position) {
    const state = stateOf(channel);
    const { epoch } = parse(channel.position ?? "");
    if (position !== null && parse(position).epoch !== epoch) state.gone = epoch;
    state.isFresh = false;
    channel.position = position;
    const gap = { channel: channel.name, position };
    const heard = channel.tellGap(gap);
    if (!tell(gap) && !heard) console.warn(`realtime: ${channel.name}: events were lost, see onGap`);
  }

  function subscribed(channel) {
    const state = stateOf(channel);
    if (session.transport.inOrder || state.refused === "no_history") return;
    state.refused = null;
    channel.isBehind = channel.position === null;
    due.add(channel);
    schedule(COLLECT_MS);
  }

  function receive(channel, event, given, told) {
    if (event === "pusher:subscription_succeeded") subscribed(channel);
    const isWhisper = event.startsWith("client-");
    const { data, meta } = isWhisper ? { data: given, meta: told } : unwrap(given, told);
    const frame = [event, data, meta];
    if (isWhisper || meta.offset === undefined) return channel.receive(...frame);
    const state = stateOf(channel);
    if (meta.epoch === state.gone) return;
    const distance = channel.position === null ? 1 : ahead(channel.position, meta);
    const isOld = distance <= 0;
    if (isOld && !state.isFresh) return;
    if (distance <= 1 || session.transport.inOrder) {
      deliver(channel, frame);
      if (distance < 0) due.add(channel);
      drain(channel);
    } else if (state.refused) {
      lose(channel, null);
      deliver(channel, frame);
    } else hold(channel, frame);
    if (due.size || holed.size) schedule(GRACE_MS);
  }

  function hold(channel, frame) {
    const state = stateOf(channel);
    // Held while a question is under way, its answer may not know it.
    if (state.held.size < HELD) state.held.set(placeOf(frame[2]), { frame, tries: asking ? -1 : 0 });
    else state.isMissing = true;
    holed.add(channel);
  }

  /** Of what was held before the question, what does not lead up to the position; from where it does. */
  function forget(held, position) {
    let { epoch, offset } = parse(position);
    while (held.has(placeOf({ epoch, offset }))) offset -= 1;
    for (const [place, { frame, tries }] of held) {
      if (tries >= 0 && frame[2].epoch !== epoch) held.delete(place);
    }
    return placeOf({ epoch, offset });
  }

  function drain(channel) {
    const { held } = stateOf(channel);
    while (held.size) {
      const { epoch, offset } = parse(channel.position);
      const next = placeOf({ epoch, offset: offset + 1 });
      const one = held.get(next);
      if (!one) break;
      held.delete(next);
      deliver(channel, one.frame);
      if (!isLive(channel)) held.clear();
    }
    if (!held.size) holed.delete(channel);
  }

  /** After an answer: which of the held frames it has brought, or should have. */
  function sift(channel, isMore) {
    const { held } = stateOf(channel);
    for (const [place, { frame }] of held) {
      if (ahead(channel.position, frame[2]) <= 0) held.delete(place);
    }
    drain(channel);
    if (isMore) return;
    const late = [...held].filter(([, one]) => ++one.tries >= TRIES);
    for (const [place] of late) held.delete(place);
    const frames = late.map(([, { frame }]) => frame);
    const here = frames.filter(([, , meta]) => ahead(channel.position, meta) > 0);
    if (here.length) lose(channel, channel.position);
    deliverAll(channel, here);
    drain(channel);
  }

  function deliverAll(channel, frames) {
    frames.sort(([, , one], [, , other]) => one.offset - other.offset);
    for (const frame of frames) deliver(channel, frame);
  }

  function refuse(channel, error) {
    const state = stateOf(channel);
    state.refused = error.code;
    if (error.code !== "no_history") report(error);
    const frames = [...state.held.values()].map(({ frame }) => frame);
    state.held.clear();
    holed.delete(channel);
    if (channel.position !== null || frames.length) lose(channel, null);
    deliverAll(channel, frames);
    known(channel);
  }

  function schedule(ms) {
    const at = Math.max(Date.now() + ms, notBefore);
    if (asking || (timer && timerAt <= at)) return;
    clearTimeout(timer);
    timerAt = at;
    timer = setTimeout(ask, at - Date.now());
  }

  async function ask() {
    timer = null;
    const asked = [...new Set([...due, ...holed])].filter(isLive).slice(0, MAX_CHANNELS);
    const mine = (asking = new AbortController());
    const { signal } = mine;
    const places = new Map();
    for (const channel of asked) {
      due.delete(channel);
      stateOf(channel).isMissing = false;
      places.set(channel.name, channel.position);
    }
    const of = (name) => channels.get(name);
    try {
      const answer = await look(session.cfg, new Map(places), {
        signal,
        refuse: (name, error) => asked.includes(of(name)) && refuse(of(name), error),
      });
      if (signal.aborted) return;
      attempts = 0;
      if (answer) take(answer, places, (name) => asked.includes(of(name)) && of(name));
    } catch (error) {
      if (signal.aborted) return;
      for (const channel of asked.filter(isLive)) {
        if (!error.transient) refuse(channel, error);
        else known(channel), due.add(channel);
      }
      if (error.transient) {
        report(error);
        notBefore = Date.now() + backoff(attempts, { floor: error.retryAfter || undefined });
        attempts += 1;
      }
    }
    asking = null;
    for (const channel of [...due, ...holed]) {
      if (!isLive(channel)) due.delete(channel), holed.delete(channel);
    }
    if (due.size) schedule(0);
    else if (holed.size) schedule(GRACE_MS);
  }

  function take(answer, places, find) {
    for (const event of answer.events) {
      const channel = find(event.channel);
      if (!channel) continue;
      const isOld = event.offset !== undefined && ahead(channel.position, event) <= 0;
      if (!isOld) deliver(channel, frameOf(event), placeOf(event));
    }
    for (const [name, { position, recovered, more }] of Object.entries(answer.channels)) {
      const channel = find(name);
      if (!channel) continue;
      const state = stateOf(channel);
      const wasAsked = places.get(name) === null; // where it is, and nothing else
      if (!recovered && channel.position !== places.get(name)) due.add(channel);
      else if (!recovered) lose(channel, forget(state.held, position));
      else if (wasAsked && channel.position !== null) {
        if (position[0] !== "@" && isAhead(channel.position, position)) due.add(channel);
      } else if (isNewer(channel.position, position)) {
        channel.position = position;
        state.isFresh = wasAsked;
      }
      if (more || state.isMissing) due.add(channel);
      sift(channel, more);
      known(channel);
    }
  }

  return {
    receive,
    lose,
    open(opened) {
      session = opened;
      for (const channel of channels.values()) {
        if (channel.error?.code === "no_history") channel.become("subscribing");
      }
    },
    pause() {
      clearTimeout(timer);
      asking?.abort();
      timer = asking = null;
      notBefore = 0;
      due.clear();
      holed.clear();
      for (const channel of channels.values()) {
        const state = stateOf(channel);
        state.held.clear();
        state.isFresh = false;
      }
    },
  };
}

// A channel that has had events has not become one without, whatever an older look says.
const isNewer = (position, next) =>
  next[0] === "@" ? position === null || position[0] === "@" : isAhead(position, next);
