import { announce, avatar, byId, el, isPerson, time, whenOf } from "./dom.js";

const KEPT = 30;

const SAYS = {
  mention: ({ room, text }) => ` mentioned you in ${room?.name ?? "a room"}: ${text}`,
  wave: () => " waves at you",
  invitation: ({ room }) => ` invites you to ${room?.name ?? "a room"}`,
  note: ({ text }) => `: ${text}`,
  removal: ({ room }) => ` removed you from ${room?.name ?? "a room"}`,
};

/** What was sent to this person, wherever they are. */
export class Bell {
  #button = byId("bell");
  #list = [];
  #api;
  #base;

  constructor({ api, base }) {
    this.#api = api;
    this.#base = base;
    byId("read-all").addEventListener("click", () => this.#read());
    this.#button.addEventListener("animationend", () => this.#button.classList.remove("ringing"));
  }

  replace(notifications) {
    this.#list = notifications;
    this.#show();
  }

  /** Something that does not read as a notification, triggered by hand, rings too. */
  ring(data) {
    const notification = isOurs(data) ? data : outside(data);
    if (this.#list.some(({ id }) => id === notification.id)) return;
    this.#list = [notification, ...this.#list].slice(0, KEPT);
    this.#button.classList.add("ringing");
    announce(`${notification.sender.name}${says(notification)}`);
    this.#show();
  }

  /** Read in another window of the same person; null: all. */
  markRead(id) {
    for (const each of this.#list) if (id === null || each.id === id) each.read = true;
    this.#show();
  }

  #show() {
    const unread = this.#list.filter(({ read }) => !read).length;
    const count = this.#button.querySelector(".count");
    count.hidden = unread === 0;
    count.textContent = unread;
    this.#button.setAttribute("aria-label", `Notifications, ${unread || "none"} unread`);
    byId("read-all").hidden = unread === 0;
    byId("no-notifications").hidden = this.#list.length > 0;
    byId("notifications").replaceChildren(...this.#list.map((each) => this.#row(each)));
  }

  #row(notification) {
    const { sender, room, kind, at, read, id } = notification;
    const children = [
      avatar(sender),
      el("span", { class: "what" }, el("b", {}, el("bdi", {}, sender.name)), says(notification)),
      read ? el("span") : el("span", { class: "unread-dot", role: "img", "aria-label": "unread" }),
      time(at, whenOf(at)),
    ];
    const onclick = () => this.#read(id);
    const leads = room && kind !== "removal";
    return el("li", { class: read ? "" : "unread" }, leads
      ? el("a", { href: `${this.#base}/rooms/${room.id}`, onclick }, ...children)
      : el("button", { type: "button", onclick }, ...children));
  }

  async #read(id = null) {
    this.markRead(id);
    if (typeof id === "string") return; // from outside: the application knows nothing of it
    await this.#api.post("/notifications/read", id === null ? {} : { id }, { keepalive: true }).catch(() => {
      announce("The server does not answer; this stays unread.");
    });
  }
}

const isOurs = (data) => Object.hasOwn(SAYS, data?.kind ?? "") && isPerson(data.sender) && Number.isFinite(data.at);
export const says = (notification) => (isOurs(notification) ? SAYS[notification.kind](notification) : `: ${notification.text}`);

let outsiders = 0;

function outside(data) {
  const text = typeof data === "string" ? data : data?.text ?? JSON.stringify(data);
  outsiders += 1;
  return { id: `outside-${outsiders}`, sender: { id: "", name: "From outside" }, room: null, text: String(text), at: Date.now(), read: false };
}
