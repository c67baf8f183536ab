import {
  createContext, createElement, useCallback, useContext, useEffect, useInsertionEffect, useMemo, useRef, useState,
  useSyncExternalStore,
} from "react";
import { connect } from "../realtime.js";

const Context = createContext(null);
const nothing = () => () => {};

/** Connects when it is mounted; nothing happens while rendering, which a server does, too. */
export function RealtimeProvider({ client, options, children }) {
  const [own] = useState(makeOwn);
  const latest = useLatest(options);
  useEffect(() => (client ? undefined : own.retain(latest)), [own, client, latest]);
  const value = useMemo(() => (client ? { get: () => client, subscribe: nothing } : own), [client, own]);
  return createElement(Context.Provider, { value }, children);
}

function makeOwn() {
  const listeners = new Set();
  let client = null;
  let timer;
  const set = (next) => {
    client = next;
    for (const listener of listeners) listener();
  };
  return {
    get: () => client,
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    retain(options) {
      clearTimeout(timer);
      if (!client) set(connect(options.current));
      return () => {
        // Not at once: StrictMode mounts everything twice.
        timer = setTimeout(() => {
          client.close();
          set(null);
        });
      };
    },
  };
}

export function useRealtime() {
  const source = useContext(Context);
  if (!source) throw new Error("this hook needs a <RealtimeProvider> above its component");
  return useSyncExternalStore(source.subscribe, source.get, () => null);
}

export function useConnectionState() {
  const client = useRealtime();
  const subscribe = useCallback((changed) => client?.on("state", changed) ?? (() => {}), [client]);
  const get = () => client?.state ?? "connecting";
  return useSyncExternalStore(subscribe, get, () => "connecting");
}

/** What was rendered last: for handlers, so that a new one on each render connects nothing anew. */
export function useLatest(value) {
  const latest = useRef(value);
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}

/** `useState` for what is known of `key` alone: of another one it is `none` from its first render on. */
export function useStateOf(key, none) {
  const [held, setHeld] = useState({ key, state: none });
  const set = useCallback(
    (next) => setHeld((before) => {
      const known = before.key === key ? before.state : none;
      const state = typeof next === "function" ? next(known) : next;
      return state === known ? before : { key, state };
    }),
    [key, none],
  );
  return [held.key === key ? held.state : none, set];
}
