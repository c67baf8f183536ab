// The channels of the transport `ably`: events, whispers and who is present.
import { decode, defined, RealtimeError } from "../events.js";

function ablyName(name) {
  const [, kind = "public", rest] = /^(?:(private|presence)-)?(.*)/.exec(name);
  return `${kind}:${rest.replaceAll(";", ":")}`;
}

const isCache = (name) => /^((private|presence)-(encrypted-)?)?cache-/.test(name);
const quietly = () => {}; // what fails is told by the channel's state

export function makeChannels(realtime, hooks) {
  const joined = new Map(); // name → what ends it
  let own; // the user's channel on Ably

  const get = (name, options) =>
    realtime.channels.get(name[0] === "#" ? own : ablyName(name), options);

  function receive(name, { name: event = "", data, id: messageId, clientId, extras }) {
    const { headers, userClaim } = extras ?? {};
    const { id = messageId?.replace(/:0$/, ""), mutation, offset, epoch } = headers ?? {};
    const isWhisper = event.startsWith("client-");
    if (isWhisper) hooks.event(name, event, data, defined({ userId: clientId }));
    // Ably marks what comes out of browsers with their claim. Those may whisper, and no more.
    else if (!userClaim) hooks.event(name, event, data, defined({ id, mutation, offset, epoch }));
  }

  function join(name) {
    if (joined.has(name)) return;
    const secret = hooks.proof(name)?.shared_secret;
    const cipher = secret && { key: secret };
    const params = isCache(name) ? { rewind: "1" } : {};
    const channel = get(name, cipher ? { params, cipher } : { params });
    const presence = name.startsWith("presence-") && follow(channel, name, hooks);
    const heard = (message) => receive(name, message);
    let misses = isCache(name);
    const changed = async ({ current, reason, hasBacklog }) => {
      const isAlone = realtime.connection.state !== "failed"; // else it is the whole connection
      if (current === "failed" && isAlone) hooks.refuse(name, denial(name, reason));
      if (current !== "attached") return;
      try {
        const roster = presence && (await presence.roster());
        hooks.event(name, "pusher:subscription_succeeded", roster || {});
      } catch (error) {
        hooks.refuse(name, denial(name, error));
      }
      if (misses && !hasBacklog) hooks.event(name, "pusher:cache_miss");
      misses = false;
    };
    joined.set(name, () => {
      channel.off(changed);
      channel.unsubscribe(heard);
      if (presence) presence.stop();
      const release = () => joined.has(name) || realtime.channels.release(channel.name);
      channel.detach().then(release, quietly);
    });
    channel.on(changed);
    channel.subscribe(heard).catch(quietly);
  }

  function leave(name) {
    const end = joined.get(name);
    joined.delete(name);
    end?.();
  }

  return {
    join,
    leave,
    publish(name, event, data) {
      const message = { name: event, data: JSON.stringify(data), encoding: "json" };
      get(name).publish(message).catch((error) => hooks.report(denial(name, error, "server_error")));
      return true;
    },
    signIn({ user_data, channel }) {
      own = channel;
      hooks.event(null, "pusher:signin_success", { user_data });
    },
  };
}

const denial = (name, { message, code, statusCode: status }, as = "denied") =>
  new RealtimeError(as, `${name}: ${message}`, { channel: name, serverCode: code, status });

// The claim is the server's word. The data is the member's own, and nobody's word for anything.
const infoOf = ({ extras }) => decode(extras?.userClaim)?.user_info;

/** Who is there: by user, where the SDK knows connections. */
function follow(channel, name, hooks) {
  const me = decode(hooks.proof(name).channel_data);
  let known; // user id → the info as JSON; undefined until the roster was told
  let entered;

  async function changed({ clientId: id }) {
    const [member] = await channel.presence.get({ clientId: id });
    if (!known) return;
    if (!member) {
      if (known.delete(id)) hooks.event(name, "pusher:member_removed", { user_id: id });
      return;
    }
    const info = infoOf(member);
    const text = JSON.stringify(info);
    if (known.has(id) && known.get(id) === text) return;
    known.set(id, text);
    hooks.event(name, "pusher:member_added", { user_id: id, user_info: info });
  }

  channel.presence.subscribe(changed).catch(quietly);
  return {
    async roster() {
      await (entered ??= channel.presence.enter(me.user_info)); // the SDK enters again by itself
      const hash = { __proto__: null, [me.user_id]: me.user_info };
      for (const member of await channel.presence.get()) hash[member.clientId] = infoOf(member);
      known = new Map(Object.entries(hash).map(([id, info]) => [id, JSON.stringify(info)]));
      return { presence: { hash } };
    },
    stop: () => channel.presence.unsubscribe(changed),
  };
}
