// ably-js as its users use it. node everyday.mjs PORT binary|text: reports one JSON object.
import * as Ably from "ably";

const [port, format] = [Number(process.argv[2]), process.argv[3]];
const open = [];
const connect = (clientId, more = {}) => {
  const client = new Ably.Realtime({
    key: "local0.dev:secret", endpoint: "127.0.0.1", port, tls: false,
    useBinaryProtocol: format === "binary", clientId, logLevel: 0, ...more,
  });
  open.push(client);
  return client;
};
const message = (channel, name) => new Promise((done) => channel.subscribe(name, done));
const member = (channel, action) => new Promise((done) => channel.presence.subscribe(action, done));
const state = (client, name) => new Promise((done) => client.connection.once(name, done));
const report = {};

// connect, attach, publish, receive (RTN4, RTL4, RTL6, RTL7)
const ann = connect("ann");
const bob = connect("bob");
const channel = ann.channels.get("room");
const other = bob.channels.get("room");
await other.attach();
const json = message(other, "json");
const { serials } = await channel.publish("json", { text: "grüezi", list: [1, null] });
const got = await json;
report.json = { data: got.data, clientId: got.clientId, serial: got.serial === serials[0] };
const bytes = message(other, "bytes");
await channel.publish("bytes", Buffer.from([0, 1, 255]));
report.bytes = [...(await bytes).data];
report.ping = (await ann.connection.ping()) >= 0;

// presence (RTP8, RTP11, RTP9, RTP10)
const entered = member(other, "enter");
await channel.presence.enter({ mood: "good" });
await entered;
report.members = (await other.presence.get()).map((who) => [who.clientId, who.data, who.action]);
const updated = member(other, "update");
await channel.presence.update("fine");
report.update = (await updated).data;

// history, over REST (RTL10); rewind
report.history = (await channel.history()).items.map((item) => item.name);
await other.detach();
const late = bob.channels.get("room", { params: { rewind: "1" } });
const rewound = message(late, "bytes");
await late.attach();
report.rewound = [...(await rewound).data];

// the connection is lost when it pings, and comes back (RTN15)
report.ids = [ann.connection.id];
const lost = state(ann, "disconnected");
const missed = message(channel, "missed");
ann.connection.ping().catch(() => {});
await lost;
const back = state(ann, "connected");
await late.publish("missed", "while away");
await back;
report.missed = (await missed).data;
report.ids.push(ann.connection.id);
report.resumed = ann.connection.errorReason === null;
report.stayed = (await late.presence.get({ waitForSync: true })).map((who) => who.clientId);

// another client recovers the connection (RTN16)
const key = await ann.connection.createRecoveryKey();
const recovered = connect("ann", { recover: key });
await state(recovered, "connected");
report.ids.push(recovered.connection.id);

const left = member(late, "leave");
recovered.close();
report.left = (await left).clientId;
const denied = bob.channels.get(":no");
report.denied = await denied.attach().catch((error) => error.code);
for (const client of open) client.close();
console.log(JSON.stringify(report));
process.exit(0);
