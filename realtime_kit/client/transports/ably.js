// Ably, by its own SDK, which connects, resumes, attaches and enters again by itself.
// The interface is told in transport.d.ts.
import { backoff } from "../backoff.js";
import { needsAuth } from "../channel.js";
import { RealtimeError } from "../events.js";
import { makeToken } from "./ably-token.js";

const OTHER_CLIENT = 40102; // somebody else is signed in by now: that takes another connection
const LOST = /disconnected|suspended|failed/;

export const supported = ({ client, Ably = globalThis.Ably }) =>
  Boolean(client?.ably && (Ably || globalThis.document));

/** What the server, to leave this connection out, takes for a socket id (providers/ably.py). */
function socketIdOf({ connection: { key: connectionKey }, auth: { clientId = null } }) {
  const bytes = new TextEncoder().encode(JSON.stringify({ connectionKey, clientId }));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function open(cfg, hooks) {
  const { signal, client: { ably: { script, endpoint, port, tls } } } = cfg;
  let realtime, channels, timer, isOpen;
  let attempts = 0;

  function refuse(name, error) {
    channels?.leave(name);
    hooks.denied(name, error);
  }
  const token = makeToken(cfg, { ...hooks, refuse });

  function changed({ current, reason }) {
    clearTimeout(timer);
    if (current === "connected") {
      isOpen = true;
      attempts = 0;
      hooks.state("open", { socketId: socketIdOf(realtime) }); // another key after each connect
    }
    if (!LOST.test(current)) return;
    const error = token.failure() ?? lost(current, reason);
    if (!isOpen || current !== "disconnected" || !error.transient) {
      const isStale = isOpen && !error.transient; // maybe the application has another provider now
      return hooks.state("lost", { error, retry: isStale || error.transient, isStale });
    }
    const retryIn = attempts && backoff(attempts);
    if (attempts) timer = setTimeout(() => retry(error), retryIn); // the first is the SDK's
    attempts += 1;
    hooks.state("paused", { error, retryIn });
  }

  // The application may have gone to another provider meanwhile.
  async function retry(error) {
    const { provider } = await cfg.request(cfg.base, { signal }).catch(() => cfg);
    if (signal.aborted) return;
    if (provider === cfg.provider) realtime.connect();
    else hooks.state("lost", { error, isStale: true });
  }

  async function start() {
    const given = cfg.Ably ?? globalThis.Ably;
    const sdk = given ?? import("./ably-sdk.js").then(({ load }) => load(script));
    const [Ably, { makeChannels }] = await Promise.all([sdk, import("./ably-channels.js")]);
    if (signal.aborted) return;
    const place = { endpoint, port, tls, tlsPort: port };
    const { authCallback } = token;
    realtime = new Ably.Realtime({ ...place, authCallback, echoMessages: false });
    channels = makeChannels(realtime, { ...hooks, refuse, proof: token.proof });
    realtime.connection.on(changed);
  }

  start().catch((cause) => {
    hooks.state("lost", { error: new RealtimeError("connection_lost", cause.message, { cause }) });
  });

  return {
    authorizes: true,
    subscribe(name) {
      if (needsAuth(name) && !token.proof(name)) token.upgrade(realtime.auth);
      else channels.join(name);
    },
    unsubscribe: (name) => channels.leave(name),
    publish: (...event) => channels.publish(...event),
    signIn: (answer) => channels.signIn(answer),
    check: () => realtime?.connect(),
    close() {
      clearTimeout(timer);
      realtime?.connection.off(changed);
      realtime?.close();
    },
  };
}

function lost(state, { message = state, code, statusCode } = {}) {
  const transient = state !== "failed" || code === OTHER_CLIENT || statusCode >= 500;
  const as = transient ? "connection_lost" : "refused";
  return new RealtimeError(as, `${message} (${code})`, { serverCode: code, transient });
}
