// The token of the transport `ably`: one for all channels, from the application's `POST /auth`.
import { persist, refusal } from "../auth.js";
import { needsAuth } from "../channel.js";

const NAMES_PER_REQUEST = 100;

export function makeToken({ auth: path, request, signal }, hooks) {
  let granted = new Map(); // name → what the answer with the token says of it
  let upgraded; // a token that the SDK has yet to be given
  let isUpgrading, failure;

  const wanted = () => (hooks.wanted() || []).map(({ name }) => name).filter(needsAuth);
  const missing = () => wanted().filter((name) => !granted.has(name));

  /** For all that is wanted now, and so for nothing that was left. */
  async function ask() {
    const names = wanted();
    const good = new Map();
    let token;
    do {
      const channels = names.splice(0, NAMES_PER_REQUEST);
      const answer = await request(path, { json: { channels, token }, signal });
      token = answer?.token;
      if (!token) throw refusal(path, { error: "no token" });
      for (const name of channels) {
        const entry = answer.channels?.[name];
        if (entry && !entry.status) {
          good.set(name, entry);
          hooks.authorized(name, { ...entry, shared_secret: null }); // the SDK opens what is sealed
        } else hooks.refuse(name, refusal(name, entry ?? { error: "no answer" }, { channel: name }));
      }
    } while (names.length);
    granted = good;
    return token;
  }

  return {
    proof: (name) => granted.get(name),

    /** Why the SDK got no token, once. */
    failure() {
      const error = failure;
      failure = null;
      return error;
    },

    /** The SDK asks as it connects, and before a token expires. */
    async authCallback(_params, answer) {
      const token = upgraded;
      upgraded = null;
      try {
        answer(null, token ?? (await ask()));
      } catch (error) {
        failure = error;
        answer(error.message);
      }
    },

    /** Another token, without another connection: for what the present one is not for. */
    async upgrade(auth) {
      if (isUpgrading) return;
      isUpgrading = true;
      await null; // what is subscribed to in one tick goes in one request
      try {
        while (missing().length) {
          upgraded = await persist(ask, { signal, report: hooks.report });
          await auth.authorize();
        }
      } catch (error) {
        for (const name of missing()) hooks.refuse(name, error);
      }
      isUpgrading = false;
    },
  };
}
