import { Channel } from "./channel.js";
import { decode, Emitter } from "./events.js";

/** A Map of user id → {id, info}. */
export class Members extends Map {
  me = null;
  #events = new Emitter();
  #known = false;

  get count() {
    return this.size;
  }

  on(event, handler) {
    return this.#events.on(event, handler);
  }

  /** The first roster in silence, then what differs. */
  rebuild(roster, myId) {
    const before = new Map(this);
    this.clear();
    for (const [id, info] of Object.entries(roster)) this.set(id, { id, info });
    this.me = this.get(myId) ?? null;
    if (this.#known) {
      for (const [id, member] of before) if (!this.has(id)) this.#events.emit("left", member);
      for (const [id, member] of this) if (!before.has(id)) this.#events.emit("joined", member);
    }
    this.#known = true;
    this.#events.emit("change", this);
  }

  join(id, info) {
    const isNew = !this.has(id);
    const member = { id, info };
    this.set(id, member);
    if (isNew) this.#events.emit("joined", member);
    this.#events.emit("change", this);
  }

  leave(id) {
    const member = this.get(id);
    if (!this.delete(id)) return;
    this.#events.emit("left", member);
    this.#events.emit("change", this);
  }
}

export class PresenceChannel extends Channel {
  members = new Members();
  #myId;

  authorized(answer) {
    super.authorized(answer);
    this.#myId = decode(answer.channel_data)?.user_id;
  }

  succeeded(data) {
    super.succeeded();
    if (data.presence) this.members.rebuild(data.presence.hash, String(this.#myId));
  }

  deliver(event, data, meta) {
    if (event === "pusher:member_added") this.members.join(String(data.user_id), data.user_info);
    if (event === "pusher:member_removed") this.members.leave(String(data.user_id));
    super.deliver(event, data, meta);
  }
}
