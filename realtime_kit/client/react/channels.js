import { useEffect, useMemo, useState } from "react";
import { useConnectionState, useLatest, useRealtime, useStateOf } from "./client.js";
import { withChannel } from "./sharing.js";

const NOBODY = { members: [], me: null, count: 0 };
const UNKNOWN = { state: "subscribing", error: null };

export function useChannel(name) {
  const client = useRealtime();
  const [joined, setJoined] = useState(null);
  useEffect(
    () => withChannel(client, name, (channel) => {
      setJoined(channel);
      return () => setJoined(null);
    }),
    [client, name],
  );
  return joined?.name === name ? joined : null;
}

export function useChannelState(channel) {
  const client = useRealtime();
  const [shown, setShown] = useStateOf(channel, UNKNOWN);
  useEffect(
    () => withChannel(client, channel, (joined) => {
      let isOver = false;
      const show = () => {
        const { state, error } = joined;
        const isSame = (before) => before.state === state && before.error === error;
        if (!isOver) setShown((before) => (isSame(before) ? before : { state, error }));
      };
      const follow = () => {
        show();
        joined.ready().then(show, show);
      };
      const offs = [client?.on("state", follow), joined.on("pusher:subscription_succeeded", follow)];
      follow();
      return () => {
        isOver = true;
        for (const off of offs) off?.();
        setShown(UNKNOWN);
      };
    }),
    [client, channel, setShown],
  );
  return shown;
}

export function useEvent(channel, event, handler) {
  const client = useRealtime();
  const latest = useLatest(handler);
  useEffect(
    () => withChannel(client, channel, (joined) =>
      joined.on(event, (data, meta) => latest.current(data, meta))),
    [client, channel, event, latest],
  );
}

export function usePresence(channel) {
  const client = useRealtime();
  const [presence, setPresence] = useStateOf(channel, NOBODY);
  useEffect(
    () => withChannel(client, channel, ({ name, members }) => {
      if (!members) throw new TypeError(`${name} is no presence channel: its name begins with "presence-"`);
      const show = () => {
        setPresence({ members: [...members.values()], me: members.me, count: members.count });
      };
      show();
      const off = members.on("change", show);
      return () => {
        off();
        setPresence(NOBODY);
      };
    }),
    [client, channel, setPresence],
  );
  return presence;
}

export function useSocket(channel) {
  const client = useRealtime();
  const isConnected = useConnectionState() === "connected";
  const [socket] = useState(makeSocket);
  useEffect(() => socket.clear, [socket]);
  useEffect(() => socket.attach(client), [socket, client]);
  useEffect(() => withChannel(client, channel, () => {}), [client, channel]);
  const { on, emit } = useMemo(() => (channel === undefined ? socket : socket.of(channel)), [socket, channel]);
  return { isConnected, on, emit };
}

/** What was asked for outlives clients: there is none yet when the first effects run. */
function makeSocket() {
  const entries = new Set();
  let client = null;
  const listen = (entry) => {
    const { channel, event, handler } = entry;
    entry.end = withChannel(client, channel, (joined) => joined.on(event, handler));
  };
  const on = (channel, event, handler) => {
    const entry = { channel, event, handler };
    entries.add(entry);
    if (client) listen(entry);
    return () => {
      if (entries.delete(entry)) entry.end?.();
    };
  };
  const emit = (given, event, data) => {
    const channel = typeof given === "string" ? client?.channels.get(given) : given;
    return channel?.whisper(event, data) ?? false;
  };
  return {
    on,
    emit,
    of: (channel) => ({
      on: (...more) => on(channel, ...more),
      emit: (...more) => emit(channel, ...more),
    }),
    attach(next) {
      client = next;
      if (client) entries.forEach(listen);
      return () => {
        client = null;
        for (const entry of entries) entry.end?.();
      };
    },
    /** When the component is unmounted, as StrictMode does to begin with. */
    clear() {
      for (const entry of entries) entry.end?.();
      entries.clear();
    },
  };
}
