// The Pusher Channels protocol, version 7, over one WebSocket: providers local, pusher and aws.
// It cannot resume, so positions are not used. The interface is told in transport.d.ts.
import { decode, defined, RealtimeError } from "../events.js";

const HANDSHAKE_MS = 15_000;
const PONG_MS = 30_000;
const CHECK_MS = 10_000;
const ACTIVITY_S = 120;

export const supported = ({ client, WebSocket }) => Boolean(client?.socket && WebSocket);

function address({ key, cluster, host, port, path, tls = true }) {
  host ||= cluster ? `ws-${cluster}.pusher.com` : globalThis.location?.hostname;
  if (/:.*:/.test(host)) host = `[${host}]`;
  const place = `${host}:${port || (tls ? 443 : 80)}/${path ?? ""}/app/${key}`.replace(/\/+/g, "/");
  return `${tls ? "wss" : "ws"}://${place}?protocol=7&client=realtime-kit&version=1`;
}

const hasRule = (code) => code >= 4000 && code < 4300;

// "Connection closure" in the protocol: which codes end it, and how soon others may retry.
function lost(code, message) {
  const retry = !(code >= 4000 && code < 4100);
  const wait = hasRule(code) ? (code < 4200 ? 1000 : 0) : undefined;
  const why = `${message || (hasRule(code) ? "closed by the server" : "connection lost")} (${code})`;
  const error = new RealtimeError(retry ? "connection_lost" : "refused", why, { serverCode: code });
  return { error, retry, wait };
}

export function open({ client: { socket: options }, WebSocket }, hooks) {
  const socket = new WebSocket(address(options));
  let silence = null; // ms until a ping; null before the handshake
  let fault = null; // a pusher:error just before the close: some hosts cannot close with its code
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
    arm(ms, () => end(lost(4201, "no pong")));
  };
  function close() {
    clearTimeout(timer);
    socket.onmessage = socket.onclose = null;
    socket.onerror = () => {}; // closing while connecting is an error event in Node
    socket.close(1000);
  }
  function end(detail) {
    close();
    hooks.state("lost", detail);
  }

  function receive({ event, channel = null, data: text, user_id: userId, ...frame }) {
    const { id, offset, epoch, mutation } = frame;
    const data = decode(text);
    fault = null;
    if (frame.requestId) return end(lost(1011, frame.message)); // API Gateway's own: a function died
    if (event === "pusher:error") {
      const loss = lost(data.code, data.message);
      if (silence === null) return end(loss);
      if (hasRule(data.code)) fault = loss;
    }
    if (event === "pusher:connection_established") return established(data);
    if (event === "pusher:ping") return send("pusher:pong", {});
    if (event === "pusher:pong") return;
    if (event === "pusher:subscription_error") {
      const status = data?.status;
      const error = new RealtimeError("denied", `${channel}: ${data?.error}`, { status, channel });
      return hooks.denied(channel, error);
    }
    const name = event.replace("pusher_internal:", "pusher:");
    hooks.event(channel, name, data, defined({ id, offset, epoch, mutation, userId }));
  }

  function established({ socket_id: socketId, activity_timeout: theirs = ACTIVITY_S }) {
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
    end((!hasRule(code) && fault) || lost(code, reason));
  };
  socket.onerror = () => {}; // onclose follows and says more
  arm(HANDSHAKE_MS, () => end(lost(1006, "no handshake")));

  return {
    subscribe(channel, auth) {
      send("pusher:subscribe", { channel, auth: auth?.auth, channel_data: auth?.channel_data });
    },
    unsubscribe(channel) {
      send("pusher:unsubscribe", { channel });
    },
    publish: (channel, event, data = null) => send(event, data, channel), // it must be there
    signIn: ({ auth, user_data }) => send("pusher:signin", { auth, user_data }),
    check: () => silence !== null && ping(CHECK_MS),
    close,
  };
}
