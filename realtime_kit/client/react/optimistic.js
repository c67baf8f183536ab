import { useCallback, useEffect, useInsertionEffect, useMemo, useState, useSyncExternalStore } from "react";
import { Optimistic } from "../optimistic.js";
import { useRealtime } from "./client.js";
import { withChannel } from "./sharing.js";

export function useOptimistic({ channel, ...options }) {
  const client = useRealtime();
  const id = [typeof channel === "string" ? channel : channel?.name, options.key].join("\n");
  const [kept, setKept] = useState(() => keep(id, options));
  const held = kept.id === id ? kept : keep(id, options);
  if (held !== kept) setKept(held);
  const { store, live } = held;
  useInsertionEffect(() => {
    const { initial, position, ...others } = options; // those are of the beginning
    Object.assign(live, others);
  });

  useEffect(() => {
    if (!client) return undefined;
    const start = (joined) => {
      store.start({ client, channel: joined });
      return () => store.stop(); // what is pending is sent all the same
    };
    return channel ? withChannel(client, channel, start) : start();
  }, [client, store, channel]);

  const subscribe = useCallback((changed) => store.on("change", changed), [store]);
  const state = useSyncExternalStore(subscribe, () => store.state, () => store.state);
  const pending = useSyncExternalStore(subscribe, () => store.pending, () => store.pending);

  const [failed, setFailed] = useState(null); // {store, error}
  useEffect(() => store.on("error", (error) => {
    if (error.mutation && error.code !== "apply_failed") setFailed({ store, error });
    else if (!live.onError) console.warn(`realtime: ${error.message}`);
  }), [store, live]);
  const { mutate, reload } = useMemo(() => ({
    mutate: (...mutation) => {
      setFailed(null);
      return store.mutate(...mutation);
    },
    reload: () => store.reload(),
  }), [store]);
  const error = failed?.store === store ? failed.error : null;
  return { state, pending, error, mutate, reload };
}

function keep(id, options) {
  const live = { ...options };
  return { id, live, store: new Optimistic(live) };
}
