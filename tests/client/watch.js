/**
 * Preloaded by every test of the client (`node --import`): a client or a channel that goes a way
 * which is not in the manual's diagrams fails the file, and so does a listener who is told states
 * in another order than they came.
 */
import { Channel } from "../../realtime_kit/client/channel.js";
import { Emitter } from "../../realtime_kit/client/events.js";
import * as drawn from "./diagram.js";

const [client, channel] = [drawn.client, drawn.channel].map((ways) => new Set(ways.map(({ way }) => way)));
export const strays = new Map(); // what → where
const told = new WeakMap(); // emitter → the state that it told last

function check(is, what) {
  if (!is) strays.set(what, new Error(what).stack);
}

const { emit } = Emitter.prototype;
Emitter.prototype.emit = function (name, ...values) {
  const [state, { previous } = {}] = name === "state" ? values : [];
  if (previous) {
    check(client.has(`${previous} --> ${state}`), `client: ${previous} --> ${state} is not in the diagram`);
    const last = told.get(this) ?? "connecting";
    check(last === previous, `client: ${previous} --> ${state} was told after ${last}`);
    told.set(this, state);
  }
  return emit.call(this, name, ...values);
};

const { become } = Channel.prototype;
Channel.prototype.become = function (state, ...rest) {
  const way = `${this.state} --> ${state}`;
  check(state === this.state || channel.has(way), `channel: ${way} is not in the diagram`);
  return become.call(this, state, ...rest);
};

process.on("exit", () => {
  if (!strays.size) return;
  console.error([...strays.values()].join("\n"));
  process.exitCode = 1;
});
