const shared = new WeakMap(); // client → name → {channel, users, timer, isOurs}

/** A channel for as long as somebody here uses it; the last one to leave unsubscribes. */
export function join(client, name) {
  const channels = shared.get(client) ?? new Map();
  shared.set(client, channels);
  const isOurs = !client.channels.has(name); // else someone else's, and not ours to leave
  const channel = client.subscribe(name);
  let use = channels.get(name);
  if (use?.channel !== channel) channels.set(name, (use = { channel, users: 0, isOurs }));
  clearTimeout(use.timer);
  use.users += 1;
  return { channel, leave: once(() => leave(channels, name, use)) };
}

function leave(channels, name, use) {
  use.users -= 1;
  if (use.users) return;
  // Not at once: StrictMode, and whoever moves in a list, leaves and comes back.
  use.timer = setTimeout(() => {
    if (channels.get(name) === use) channels.delete(name);
    if (use.isOurs) use.channel.unsubscribe();
  });
}

function once(act) {
  let isDone = false;
  return () => {
    if (!isDone) act();
    isDone = true;
  };
}

/** `use(channel)` for a name or a channel; returns what ends both. */
export function withChannel(client, given, use) {
  if (!given) return undefined;
  if (typeof given !== "string") return use(given);
  if (!client || client.state === "closed") return undefined;
  const { channel, leave } = join(client, given);
  const end = use(channel);
  return () => {
    end?.();
    leave();
  };
}
