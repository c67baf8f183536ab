// ably-js, unmodified, driven from a test: a JSON command a line comes in, its answer goes out.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const Ably = createRequire(import.meta.url)("ably");

const clients = {}; // Ably.Realtime, by name
const expected = {}; // what a command is to wait for, by client

// As the documentation has it: the names that this page uses, the token that it holds.
function askFor(names, { url, headers }) {
  let token;
  return async (_params, answer) => {
    const body = JSON.stringify({ channels: [...names], token });
    const init = { method: "POST", headers: { "Content-Type": "application/json", ...headers }, body };
    const response = await fetch(url, init);
    if (!response.ok) return answer(`${url} answered ${response.status}`, null);
    ({ token } = await response.json());
    names.clear(); // the token remembers them
    answer(null, token);
  };
}

const problem = ({ code, statusCode, message, cause }) =>
  ({ code, statusCode, message, cause: cause?.message });
const attempt = (work) => work.then(() => "done", problem);

const commands = {
  async open({ client, auth, names, ...options }) {
    const names_ = new Set(names);
    const how = names ? { authCallback: askFor(names_, auth) } : auth;
    const realtime = new Ably.Realtime({ ...how, ...options, tls: false, logLevel: 0 });
    clients[client] = { realtime, names: names_ };
    const state = await new Promise((resolve) =>
      realtime.connection.on(["connected", "disconnected", "failed"], ({ current }) => resolve(current)));
    const { errorReason } = realtime.connection;
    return { state, clientId: realtime.auth.clientId, error: errorReason && problem(errorReason) };
  },
  async add({ client, names }) {
    for (const name of names) clients[client].names.add(name);
    await clients[client].realtime.auth.authorize();
  },
  attach: ({ client, channel }) => attempt(clients[client].realtime.channels.get(channel).attach()),
  publish: ({ client, channel, event }) =>
    attempt(clients[client].realtime.channels.get(channel).publish(event, {})),
  enter: ({ client, channel, data }) =>
    attempt(clients[client].realtime.channels.get(channel).presence.enter(data)),
  async members({ client, channel }) {
    const members = await clients[client].realtime.channels.get(channel).presence.get();
    return members.map(({ clientId, data, extras }) => ({ clientId, data, extras }));
  },
  expectMessage({ client, channel }) {
    const { channels } = clients[client].realtime;
    expected[client] = new Promise((resolve) =>
      channels.get(channel).subscribe(({ name, clientId, extras }) =>
        resolve({ name, clientId, extras: extras ?? null })));
  },
  expectConnection({ client, event }) {
    const { connection } = clients[client].realtime;
    expected[client] = new Promise((resolve) => connection.once(event, ({ current }) => resolve(current)));
  },
  expected: ({ client }) => expected[client],
  state: ({ client, channel }) => {
    const { connection, channels } = clients[client].realtime;
    return channel ? channels.get(channel).state : connection.state;
  },
  async rest({ auth, ...options }) {
    const rest = new Ably.Rest({ ...auth, ...options, tls: false, logLevel: 0 });
    const { token, clientId, capability } = await rest.auth.requestToken();
    return { token, clientId, capability };
  },
  close: ({ client }) => clients[client].realtime.close(),
};

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { command, ...options } = JSON.parse(line);
  let answer;
  try {
    answer = { answer: (await commands[command](options)) ?? null };
  } catch (error) {
    answer = { failed: problem(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}).on("close", () => process.exit());
