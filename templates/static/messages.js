import { avatar, byId, dayOf, el, isPerson, time, timeOf } from "./dom.js";

const TOGETHER_MS = 5 * 60_000; // messages of one author within this stand under one name
const NEAR_END_PX = 60;
const TOKEN = /(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])|((?<![\w@])@[a-z0-9]+(?:-[a-z0-9]+)*)/gi;

/** The messages of the open room, oldest first, each id once. */
export class Messages {
  #log = byId("log");
  #list = byId("messages");
  #newest = byId("newest");
  #nodes = new Map(); // by id, or nonce while a message has no id
  #me;
  #follow = true;

  constructor(me) {
    this.#me = me;
    this.#newest.addEventListener("click", () => this.toEnd());
    this.#log.addEventListener("scroll", () => {
      this.#follow = this.#isNearEnd();
      if (this.#follow) this.#newest.hidden = true;
    });
    new ResizeObserver(() => this.#follow && this.toEnd()).observe(this.#log);
  }

  /** The lowest id that is shown: what `before` asks for. */
  get firstId() {
    return Number(this.#list.querySelector("[data-id]")?.dataset.id ?? 0);
  }

  /** What the page begins with, or what was asked for from further back: not announced. */
  addOld(messages) {
    const fromEnd = this.#log.scrollHeight - this.#log.scrollTop;
    this.#log.setAttribute("aria-busy", "true");
    for (const message of messages) this.#put(message);
    this.#log.scrollTop = this.#log.scrollHeight - fromEnd;
    this.#log.removeAttribute("aria-busy");
    this.#showEmpty();
  }

  /** Says where the last `count` messages of others begin, which were unread. */
  markNew(count) {
    const first = count > 0 && [...this.#list.querySelectorAll(".message:not(.own)")].at(-count);
    if (!first) return;
    first.dataset.isNew = "";
    this.#arrange(first);
  }

  /** Returns false for what is shown already. A nonce settles the page's own pending message. */
  add(message) {
    const { id, nonce } = message;
    if (id !== null && this.#nodes.has(id)) return false;
    const pending = nonce && this.#nodes.get(nonce);
    if (pending) {
      this.#nodes.delete(nonce);
      this.#nodes.set(id, pending);
      pending.id = `m-${id}`;
      pending.dataset.id = id;
      this.fate(pending, "sent", "Sent");
      return false;
    }
    const node = this.#put(message);
    node.classList.add("fresh");
    this.#showEmpty();
    if (this.#follow || message.pending) this.toEnd();
    else this.#newest.hidden = false;
    return true;
  }

  remove(nonce) {
    const node = this.#nodes.get(nonce);
    const next = node.nextElementSibling;
    this.#nodes.delete(nonce);
    node.remove();
    if (next) this.#arrange(next);
    this.#showEmpty();
  }

  node(key) {
    return this.#nodes.get(key);
  }

  /** What became of a message of one's own: "pending", "failed" or "sent"; of the sent ones the last says so. */
  fate(node, state, ...children) {
    node.classList.toggle("pending", state === "pending");
    node.classList.toggle("failed", state === "failed");
    node.classList.toggle("sent", state === "sent");
    node.querySelector(".fate")?.remove();
    node.append(el("p", { class: "fate" }, ...children));
    if (this.#follow) this.toEnd();
  }

  toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#newest.hidden = true;
    this.#follow = true;
  }

  #isNearEnd() {
    return this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < NEAR_END_PX;
  }

  #showEmpty() {
    byId("empty").hidden = this.#list.childElementCount > 0;
  }

  #put(message) {
    const node = this.#make(message);
    this.#nodes.set(message.id ?? message.nonce ?? Symbol("outside"), node);
    const order = message.id ?? Infinity;
    let before = this.#list.lastElementChild;
    while (before && Number(before.dataset.id ?? -1) > order) before = before.previousElementSibling;
    if (before) before.after(node);
    else this.#list.prepend(node);
    this.#arrange(node);
    if (node.nextElementSibling) this.#arrange(node.nextElementSibling);
    return node;
  }

  #make({ id, author, text, sent_at: sentAt, foreign }) {
    const own = !foreign && author.id === this.#me.id;
    const node = el("li", { class: `message${own ? " own" : ""}${foreign ? " foreign" : ""}` },
      el("p", { class: "day" }),
      avatar(author),
      el("p", { class: "who" }, el("b", {}, el("bdi", {}, own ? "You" : author.name)),
        time(sentAt, timeOf(sentAt)), foreign ? el("span", { class: "from" }, "not in the history") : null),
      el("p", { class: "words", dir: "auto" }, ...words(text, this.#me)),
    );
    if (id !== null) Object.assign(node, { id: `m-${id}` }).dataset.id = id;
    node.dataset.at = sentAt;
    node.dataset.author = foreign ? `outside ${author.name}` : author.id;
    return node;
  }

  // The first of a day says so, as does the first new one; one that goes on from the one before
  // needs no name.
  #arrange(node) {
    const before = node.previousElementSibling;
    const at = Number(node.dataset.at);
    const newDay = !before || dayOf(Number(before.dataset.at)) !== dayOf(at);
    const isNew = "isNew" in node.dataset;
    const goesOn = !newDay && !isNew && before.dataset.author === node.dataset.author
      && at - Number(before.dataset.at) < TOGETHER_MS;
    const day = node.querySelector(".day");
    day.textContent = [newDay && dayOf(at), isNew && "New"].filter(Boolean).join(" · ");
    day.hidden = !day.textContent;
    day.classList.toggle("new", isNew);
    node.classList.toggle("goes-on", goesOn);
  }
}

function words(text, me) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(TOKEN)) {
    parts.push(text.slice(end, found.index));
    const [token, url] = found;
    if (url) parts.push(el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, url));
    else parts.push(el("span", { class: `mention${token.slice(1).toLowerCase() === me.id ? " mine" : ""}` }, token));
    end = found.index + token.length;
  }
  return [...parts, text.slice(end)];
}

/** Whatever was triggered as a "message", also by hand from a terminal, as one that can be shown. */
export function readMessage(data) {
  const { id, author, text: words, sent_at: sentAt } = data ?? {};
  const isOurs = Number.isInteger(id) && isPerson(author) && typeof words === "string" && Number.isFinite(sentAt);
  if (isOurs) return data;
  const name = typeof data?.author === "string" ? data.author : data?.author?.name;
  const text = typeof data === "string" ? data : data?.text;
  return {
    id: null,
    author: { id: "", name: String(name ?? "From outside").slice(0, 24) },
    text: typeof text === "string" ? text : JSON.stringify(data),
    sent_at: Date.now(),
    foreign: true,
  };
}
