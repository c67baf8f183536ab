import { byId, el, icon, keep } from "./dom.js";

/** The rooms that one may enter, and what is unread in them. */
export class Rooms {
  #rooms = new Map();
  #open;
  #base;
  #subscribe;
  #off = new Map();

  /** `subscribe(room)` is called for each room once, and returns what ends that. */
  constructor({ open, base, subscribe }) {
    this.#open = open;
    this.#base = base;
    this.#subscribe = subscribe;
  }

  /** All of them, as the application says it now. */
  replace(rooms) {
    this.#rooms = new Map(rooms.map((room) => [room.id, room]));
    for (const id of this.#off.keys()) if (!this.#rooms.has(id)) this.#leave(id);
    for (const room of rooms) this.#join(room);
    this.#show();
  }

  add(room) {
    if (this.#rooms.has(room.id)) return;
    this.#rooms.set(room.id, { private: false, unread: 0, ...room });
    this.#join(room);
    this.#show();
  }

  remove(id) {
    if (!this.#rooms.delete(id)) return;
    this.#leave(id);
    this.#show();
  }

  count(id, unread = (this.#rooms.get(id)?.unread ?? 0) + 1) {
    const room = this.#rooms.get(id);
    if (!room || room.unread === unread) return;
    room.unread = unread;
    this.#show();
  }

  #join(room) {
    if (!this.#off.has(room.id)) this.#off.set(room.id, this.#subscribe(room));
  }

  #leave(id) {
    this.#off.get(id)();
    this.#off.delete(id);
  }

  #show() {
    const rooms = [...this.#rooms.values()].sort((a, b) =>
      (b.id === "lobby") - (a.id === "lobby") || a.private - b.private || a.name.localeCompare(b.name));
    keep(byId("rooms"), rooms, (room) => this.#row(room), update);
    const total = rooms.reduce((sum, { unread }) => sum + unread, 0);
    const badge = document.querySelector("[data-unread-total]");
    badge.hidden = total === 0;
    badge.textContent = total;
    document.title = `${total ? `(${total}) ` : ""}${this.#open.name} · realtime-kit`;
  }

  #row({ id, name, private: isPrivate }) {
    return el("li", {}, el("a", { href: `${this.#base}/rooms/${id}`, "aria-current": id === this.#open.id && "page" },
      icon(isPrivate ? "lock" : "hash"), el("bdi", { title: name }, name),
      el("span", { class: "count", hidden: true })));
  }
}

function update(node, { unread }) {
  const count = node.querySelector(".count");
  count.hidden = unread === 0;
  count.textContent = unread > 99 ? "99+" : unread;
  count.setAttribute("aria-label", `${unread} unread`);
  node.firstElementChild.classList.toggle("has-unread", unread > 0);
}
