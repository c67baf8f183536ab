/**
 * The Pusher Channels protocol, version 7, over one WebSocket: providers local, pusher and aws.
 * One call of `open` is one connection; the client opens the next. Positions are not used: the
 * protocol has no resume. The interface is in transport.d.ts.
 */
import { decode, defined, RealtimeError } from "../events.js";

const HANDSHAKE_MS = 15_000;
const PONG_MS = 30_000;
const CHECK_MS = 10_000;
const ACTIVITY_S = 120;

export const supported = ({ client, WebSocket }) => Boolean(client?.socket && WebSocket);

function address({ key, cluster, host, port, path = "", tls = true }) {
  host ||= cluster ? `ws-${cluster}.pusher.com` : globalThis.location?.hostname;
  const url = new URL(`${tls ? "wss" : "ws"}://${host}${port ? `:${port}` : ""}`);
  url.pathname = `${path.replace(/^\/?|\/$/g, "/")}app/${key}`;
  url.search = "protocol=7&client=realtime-kit&version=1";
  return url.href;
}

/** "Connection closure" of the protocol: which codes end it, and how soon others may retry. */
function lost(code, message) {
  const isCode = code >= 4000 && code < 4300;
  const why = `${message || (isCode ? "closed by the server" : "connection lost")} (${code})`;
  const kind = code >= 4000 && code < 4100 ? "refused" : "connection_lost";
  const error = new RealtimeError(kind, why, { serverCode: code });
  if (!isCode) return { error };
  return { error, retry: kind !== "refused", wait: code < 4200 ? 1000 : 0 };
}

export function open({ client: { socket: options }, WebSocket }, hooks) {
  const socket = new WebSocket(address(options));
  let silence = null; // ms until a ping; null before the handshake
  let fault = null; // the last pusher:error that says how to go on: some hosts cannot close with it
  let over = false;
  let timer;

  const arm = (ms, act) => {
    clearTimeout(timer);
    timer = setTimeout(act, ms);
  };
  const send = (event, data, channel) => {
    if (silence === null || socket.readyState !== 1) return false;
    socket.send(JSON.stringify({ event, channel, data }));
    return true;
  };
  const ping = (ms) => {
    send("pusher:ping", {});
    arm(ms, () => end({ ...lost(4201, "no pong"), retry: true }));
  };
  function close() {
    over = true;
    clearTimeout(timer);
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {}; // closing while connecting is an error event in Node
    socket.close(1000);
  }
  function end(detail) {
    if (over) return;
    close();
    hooks.state("lost", detail);
  }

  function receive({ event, channel = null, data: text, user_id: userId, id, offset, epoch, mutation }) {
    const data = decode(text);
    if (event === "pusher:error") {
      const { code, message } = data ?? {};
      if (code >= 4000 && code < 4300) fault = lost(code, message);
      if (silence === null) return end(fault ?? lost(code, message));
    }
    if (event === "pusher:connection_established") return established(data ?? {});
    if (event === "pusher:ping") return send("pusher:pong", {});
    if (event === "pusher:pong" || silence === null) return;
    if (event === "pusher:subscription_error") {
      const status = data?.status;
      return hooks.denied(channel, new RealtimeError("denied", `${channel}: ${data?.error}`, { status }));
    }
    const name = event.replace("pusher_internal:", "pusher:");
    hooks.event(channel, name, data, defined({ id, offset, epoch, mutation, userId }));
  }

  function established({ socket_id: socketId, activity_timeout: theirs = ACTIVITY_S }) {
    if (silence !== null) return;
    if (typeof socketId !== "string") return end(lost(1002, "the handshake names no socket id"));
    silence = Math.min(options.activityTimeout ?? theirs, theirs) * 1000;
    arm(silence, () => ping(PONG_MS));
    hooks.state("open", { socketId });
  }

  socket.onmessage = ({ data }) => {
    if (silence !== null) arm(silence, () => ping(PONG_MS));
    try {
      receive(JSON.parse(data));
    } catch (error) {
      hooks.event(null, "pusher:error", { code: null, message: `malformed frame: ${error.message}` });
    }
  };
  socket.onclose = ({ code, reason }) => {
    const own = lost(code, reason);
    end("retry" in own ? own : (fault ?? own));
  };
  socket.onerror = () => {}; // onclose follows and says more
  arm(HANDSHAKE_MS, () => end(lost(1006, "no handshake")));

  return {
    subscribe(channel, auth) {
      send("pusher:subscribe", { channel, ...defined({ auth: auth?.auth, channel_data: auth?.channel_data }) });
    },
    unsubscribe(channel) {
      send("pusher:unsubscribe", { channel });
    },
    publish: (channel, event, data) => send(event, data, channel),
    signIn: ({ auth, user_data }) => send("pusher:signin", { auth, user_data }),
    check: () => silence !== null && ping(CHECK_MS),
    close,
  };
}
