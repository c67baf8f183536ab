// The way back after a fallback: better transports are tried now and then, beside the one that works.
const FIRST_MS = 5000;
const LONGEST_MS = 600_000; // the wait doubles up to this
const SPREAD = 0.25;

/** Until one of `session.better` opens; then `lost(session, …)` gives up the present connection. */
export async function seek(session, told, lost) {
  const { signal } = session;
  for (let wait = FIRST_MS; ; wait = Math.min(wait * 2, LONGEST_MS)) {
    await pause(wait * (1 + SPREAD * Math.random()), signal);
    for (const load of session.better) {
      if (signal.aborted) return;
      if (!(await works(load, session.cfg, told, signal))) continue;
      const { RealtimeError } = await import("./events.js");
      const error = new RealtimeError("connection_lost", "a better transport works again");
      if (!signal.aborted) lost(session, { error, wait: 0, isBetter: true });
      return;
    }
  }
}

/** Resolves after `ms`, when the network is back, or when it is over. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, signal.aborted ? 0 : ms);
    function done() {
      clearTimeout(timer);
      globalThis.removeEventListener?.("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    }
    globalThis.addEventListener?.("online", done);
    signal.addEventListener("abort", done);
  });
}

/** Opens one, to close it again: whether it gets through. */
async function works(load, cfg, { wanted }, signal) {
  const module = await Promise.resolve(load()).catch(() => null);
  if (!module?.supported(cfg) || signal.aborted) return false;
  const abort = new AbortController();
  let transport, stop;
  try {
    return await new Promise((resolve) => {
      const state = (name) => resolve(name === "open");
      const ignore = () => {};
      const quiet = { event: ignore, position: ignore, gap: ignore, denied: ignore };
      stop = () => resolve(false);
      signal.addEventListener("abort", stop);
      const hooks = { ...quiet, authorized: ignore, report: ignore, wanted, state };
      transport = module.open({ ...cfg, signal: abort.signal }, hooks);
    });
  } catch {
    return false; // such as an address that is none
  } finally {
    signal.removeEventListener("abort", stop);
    abort.abort();
    transport?.close();
  }
}
