// The official JavaScript clients, unmodified, driven from a test: one JSON command a line comes in,
// answers and everything that the clients report go out, one JSON object a line.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import Echo from "laravel-echo";

const require = createRequire(import.meta.url);
const Pusher = require("pusher-js");
const PusherServer = require("pusher");

const tell = (message) => process.stdout.write(JSON.stringify(message) + "\n");

const clients = {}; // pusher-js, by name
const echoes = {}; // laravel-echo, by name
const sdks = {}; // the Node server SDK, by name; "app" is the application's own

// --- the application's endpoints, made of the Node SDK ---------------------------------------

const users = {
  alice: { id: "alice", user_info: { name: "Alice" }, watchlist: ["bob"] },
  bob: { id: "bob", user_info: { name: "Bob" }, watchlist: ["alice"] },
};

const endpoints = {
  "/auth": (form, user) => {
    const { socket_id, channel_name } = form;
    if (channel_name.includes("forbidden") || !user) return null;
    if (!channel_name.startsWith("presence-")) return sdks.app.authorizeChannel(socket_id, channel_name);
    const member = { user_id: user.id, user_info: user.user_info };
    return sdks.app.authorizeChannel(socket_id, channel_name, member);
  },
  "/user-auth": (form, user) => user && sdks.app.authenticateUser(form.socket_id, user),
  "/webhook": (_form, _user, request) => {
    const webhook = sdks.app.webhook(request);
    const valid = webhook.isValid();
    const events = valid ? webhook.getEvents() : [];
    tell({ webhook: { valid, events, headers: request.headers, body: request.rawBody } });
    return {};
  },
};

const http = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  request.rawBody = Buffer.concat(chunks).toString();
  const form = Object.fromEntries(new URLSearchParams(request.rawBody));
  const user = users[request.headers["x-user"] ?? form.user];
  const answer = endpoints[request.url]?.(form, user, request);
  response.writeHead(answer ? 200 : 403, { "Content-Type": "application/json" });
  response.end(JSON.stringify(answer ?? { error: "denied" }));
});

const endpoint = (path) => `http://127.0.0.1:${http.address().port}${path}`;

// --- commands --------------------------------------------------------------------------------

const address = (port, wsPath = "") => ({
  wsHost: "127.0.0.1",
  wsPath,
  wsPort: port,
  wssPort: port,
  forceTLS: false,
  enabledTransports: ["ws", "wss"],
});

function membersOf(channel) {
  const members = [];
  channel.members.each((member) => members.push(member));
  return { count: channel.members.count, me: channel.members.me, members };
}

const commands = {
  // pusher-js
  open({ client, key, port, wsPath, user, options }) {
    const headers = user ? { "X-User": user } : {};
    const pusher = new Pusher(key, {
      cluster: "local",
      ...address(port, wsPath),
      channelAuthorization: { endpoint: endpoint("/auth"), headers },
      userAuthentication: { endpoint: endpoint("/user-auth"), headers },
      ...options,
    });
    clients[client] = pusher;
    pusher.connection.bind("state_change", ({ current }) => tell({ client, state: current }));
    pusher.connection.bind("error", (error) => tell({ client, error: error.data ?? error.error?.data }));
    pusher.bind("pusher:signin_success", (data) => tell({ client, event: "signed in", data }));
    pusher.user.bind_global((event, data) => tell({ client, event, data, channel: "(user)" }));
    for (const event of ["online", "offline"])
      pusher.user.watchlist.bind(event, (data) => tell({ client, event, data, channel: "(watchlist)" }));
  },
  socketId: ({ client }) => clients[client].connection.socket_id,
  state: ({ client }) => clients[client].connection.state,
  subscribe({ client, channel }) {
    const subscription = clients[client].subscribe(channel);
    subscription.bind_global((event, data) => tell({ client, channel, event, data }));
    for (const event of ["client-typing", "message"])
      subscription.bind(event, (_data, metadata) => tell({ client, channel, event: `${event} by`, data: metadata }));
  },
  unsubscribe: ({ client, channel }) => clients[client].unsubscribe(channel),
  members: ({ client, channel }) => membersOf(clients[client].channel(channel)),
  count: ({ client, channel }) => clients[client].channel(channel).subscriptionCount ?? null,
  whisper: ({ client, channel, event, data }) => clients[client].channel(channel).trigger(event, data),
  send: ({ client, event, data, channel }) => clients[client].connection.send_event(event, data, channel),
  signin: ({ client }) => clients[client].signin(),
  close: ({ client }) => clients[client].disconnect(),

  // laravel-echo, as its documentation sets it up
  echo({ client, broadcaster, key, port, wsPath, user }) {
    const options = { broadcaster, key, ...address(port, wsPath), Pusher, authEndpoint: endpoint("/auth") };
    if (broadcaster === "pusher") options.cluster = "local";
    if (user) options.auth = { headers: { "X-User": user } };
    echoes[client] = new Echo(options);
    echoes[client].connector.pusher.connection.bind("state_change", ({ current }) => tell({ client, state: current }));
  },
  echoListen({ client, kind, channel, event }) {
    const subscription = echoes[client][kind](channel);
    subscription.subscribed(() => tell({ client, channel, event: "subscribed" }));
    subscription.error((data) => tell({ client, channel, event: "error", data }));
    subscription.listen(event, (data) => tell({ client, channel, event, data }));
    subscription.notification((data) => tell({ client, channel, event: "notification", data }));
    subscription.listenForWhisper?.("typing", (data) => tell({ client, channel, event: "whisper", data }));
    subscription.here?.((data) => tell({ client, channel, event: "here", data }));
    subscription.joining?.((data) => tell({ client, channel, event: "joining", data }));
    subscription.leaving?.((data) => tell({ client, channel, event: "leaving", data }));
  },
  echoWhisper: ({ client, kind, channel, data }) => void echoes[client][kind](channel).whisper("typing", data),
  echoLeave: ({ client, channel }) => echoes[client].leave(channel),
  echoSocketId: ({ client }) => echoes[client].socketId(),
  echoClose: ({ client }) => echoes[client].disconnect(),

  // the Node server SDK
  sdk({ name, appId, key, secret, port, encryptionMasterKeyBase64 }) {
    sdks[name] = new PusherServer({
      appId, key, secret, host: "127.0.0.1", port, useTLS: false, encryptionMasterKeyBase64,
    });
  },
  async trigger({ sdk = "app", channels, event, data, params }) {
    return (await sdks[sdk].trigger(channels, event, data, params)).json();
  },
  async triggerBatch({ sdk = "app", events }) {
    return (await sdks[sdk].triggerBatch(events)).json();
  },
  async get({ sdk = "app", path, params }) {
    return (await sdks[sdk].get({ path, params })).json();
  },
  async sendToUser({ sdk = "app", user, event, data }) {
    return (await sdks[sdk].sendToUser(user, event, data)).json();
  },
  async terminate({ sdk = "app", user }) {
    return (await sdks[sdk].terminateUserConnections(user)).json();
  },
};

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, command, ...options } = JSON.parse(line);
  try {
    tell({ id, answer: (await commands[command](options)) ?? null });
  } catch (error) {
    tell({ id, failed: { name: error.name ?? String(error), message: error.message, status: error.status, body: error.body } });
  }
}).on("close", () => process.exit());

http.listen(0, "127.0.0.1", () => tell({ id: 0, answer: http.address().port }));
