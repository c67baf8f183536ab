// Clients of an application, one for each transport, over lines of their own: `node clients.js
// '{"transports": […], "channels": […]}'`. A line on stdin names one whose lines are cut; what they
// get goes to stdout, a JSON per line.
import { createInterface } from "node:readline";
import Ably from "ably";
import { WebSocket } from "ws";
import { connect } from "../../realtime_kit/client/realtime.js";
import { proxy } from "../client/line.js";

const { APPLICATION } = process.env;
const { transports, channels } = JSON.parse(process.argv[2]);
const ends = [];
const t = { after: (end) => ends.push(end) };
const report = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);

// Small draws of the back-off: the wait before another attempt is about its floor.
let draw = 0;
Math.random = () => (draw = (draw + 0.0013) % 0.02);

const providerOf = ({ client }) => client.socket ?? client.ably;
const config = await (await fetch(`${APPLICATION}/realtime/config`)).json();

async function client(transport) {
  const app = await proxy(t, new URL(APPLICATION).port);
  const provider = await proxy(t, providerOf(config).port);
  async function fetching(url, init) {
    const response = await fetch(url, init);
    if (!response.ok || !String(url).endsWith("/config")) return response;
    const answer = await response.json();
    providerOf(answer).port = provider.port;
    return Response.json(answer);
  }
  const made = connect({
    configUrl: `http://127.0.0.1:${app.port}/realtime/config`,
    headers: () => ({ "X-User": "ada" }),
    order: [transport],
    fetch: fetching,
    WebSocket,
    Ably,
  });
  ends.push(() => made.close());
  made.on("error", (error) => console.error(transport, error.code, error.message));
  made.on("state", (state) => report({ transport, state }));
  const all = channels.map((name) => {
    const channel = made.subscribe(name);
    const tell = (what, number) => report({ transport, channel: name, what, number: Number(number) });
    channel.on("x", (number) => tell("event", number));
    channel.onGap(({ position }) => tell("gap", position.split(":").at(-1)));
    return channel.ready();
  });
  await Promise.all(all);
  return [transport, () => (app.cut(), provider.cut())];
}

const cut = Object.fromEntries(await Promise.all(transports.map(client)));
report({ ready: true });
for await (const transport of createInterface({ input: process.stdin })) cut[transport]();
for (const end of ends.reverse()) end();
