import { useEffect, useState } from "react";
import { backoff } from "../backoff.js";
import { decode } from "../events.js";
import { useLatest, useStateOf } from "./client.js";

const CLOSED = 2; // EventSource.CLOSED

export function useEventSource(url, { onMessage, onError, events = [], withCredentials = false } = {}) {
  const latest = useLatest({ onMessage, onError });
  const [state, setState] = useStateOf(url, "connecting");
  const names = events.join("\n");
  useEffect(() => {
    if (!url) return undefined;
    const hear = (event) => latest.current.onMessage?.(decode(event.data), event);
    const end = openSource(url, { withCredentials, names: names ? names.split("\n") : [] }, {
      hear,
      state: setState,
      error: (event) => latest.current.onError?.(event),
    });
    return () => {
      end();
      setState("connecting");
    };
  }, [url, withCredentials, names, latest, setState]);
  return url ? state : "closed";
}

/** An EventSource comes back by itself, but for an answer that is no stream: then it is opened anew. */
function openSource(url, { withCredentials, names }, hooks) {
  let source, timer, last;
  let attempts = 0;

  function open() {
    const from = new URL(url, document.baseURI);
    if (last) from.searchParams.set("position", last); // a new one forgets its Last-Event-ID
    source = new EventSource(from.href, { withCredentials });
    source.onopen = () => {
      attempts = 0;
      hooks.state("open");
    };
    source.onerror = (event) => {
      hooks.error(event);
      hooks.state("connecting");
      if (source.readyState !== CLOSED) return;
      clearTimeout(timer);
      timer = setTimeout(open, backoff(attempts));
      attempts += 1;
    };
    for (const name of ["message", ...names]) {
      source.addEventListener(name, (event) => {
        last = event.lastEventId || last;
        hooks.hear(event);
      });
    }
  }

  open();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}

const NOTHING = { data: undefined, error: null, isDone: false };

export function usePolling({ fetcher, interval = 5000, enabled = true, key }) {
  const latest = useLatest(fetcher);
  const [{ data, error, isDone }, show] = useStateOf(key, NOTHING);
  const [poller] = useState(makePoller);
  useEffect(
    () => poller.start({ latest, interval, enabled, show }),
    [poller, latest, interval, enabled, show], // `show` is another one for each key
  );
  return { data, error, isLoading: enabled && !isDone, refetch: poller.refetch };
}

/** One request at a time; none by itself while nobody looks, or without a network. */
function makePoller() {
  let poll = async () => {};

  function start({ latest, interval, enabled, show }) {
    let timer, abort;
    let failures = 0;
    let isPaused = false;

    const isIdle = () => document.visibilityState === "hidden" || navigator.onLine === false;
    const wake = () => {
      if (isPaused && !isIdle()) poll();
    };
    const pollUnlessIdle = () => (isIdle() ? (isPaused = true) : poll());
    const next = () => {
      const rest = failures ? Math.max(interval, backoff(failures)) : interval;
      if (enabled) timer = setTimeout(pollUnlessIdle, rest);
    };

    const mine = (poll = async () => {
      clearTimeout(timer);
      abort?.abort(); // a later answer must not be overtaken
      abort = new AbortController();
      const { signal } = abort;
      isPaused = false;
      try {
        const data = await latest.current({ signal });
        if (signal.aborted) return;
        failures = 0;
        show({ data, error: null, isDone: true });
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        show(({ data }) => ({ data, error, isDone: true }));
      }
      next();
    });

    document.addEventListener("visibilitychange", wake);
    globalThis.addEventListener("online", wake);
    if (enabled) pollUnlessIdle();
    return () => {
      clearTimeout(timer);
      abort?.abort();
      document.removeEventListener("visibilitychange", wake);
      globalThis.removeEventListener("online", wake);
      if (poll === mine) poll = async () => {};
    };
  }

  return { start, refetch: () => poll() };
}
