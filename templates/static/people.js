import { avatar, byId, el, icon, keep } from "./dom.js";

const TYPING_FOR_MS = 5_000; // a page that went away in mid-word says nothing more

/** Who has the room open, who belongs to it, and who is typing. */
export class People {
  #me;
  #room;
  #acts;
  #here = new Map();
  #members = [];
  #typing = new Map(); // id → timer

  /** `acts`: mention(person), wave(person), remove(person). */
  constructor({ me, room, acts }) {
    this.#me = me;
    this.#room = room;
    this.#acts = acts;
  }

  show(members) {
    this.#here = new Map([...members.values()].map(({ id, info }) => [id, { id, name: info?.name ?? id }]));
    for (const id of this.#typing.keys()) if (!this.#here.has(id)) this.stopped(id);
    const others = [...this.#here.values()].filter(({ id }) => id !== this.#me.id).sort(byName);
    const people = this.#here.has(this.#me.id) ? [this.#me, ...others] : others;
    keep(byId("people"), people, (person) => this.#row(person, this.#toOthers(person)));
    byId("alone").hidden = people.length !== 1;
    for (const node of document.querySelectorAll("[data-people-count]")) node.textContent = people.length;
    this.showMembers(this.#members);
  }

  /** A private room's members, here or not. */
  showMembers(members) {
    this.#members = members;
    const list = byId("members");
    if (!list) return;
    keep(list, members, (person) => this.#row(person, this.#toMember(person)),
      (node, { id }) => node.classList.toggle("here", this.#here.has(id)));
  }

  typed(id, isTyping) {
    clearTimeout(this.#typing.get(id));
    this.#typing.delete(id);
    if (isTyping && this.#here.has(id)) {
      this.#typing.set(id, setTimeout(() => this.stopped(id), TYPING_FOR_MS));
    }
    const names = [...this.#typing.keys()].flatMap((each) => this.#here.get(each)?.name ?? []);
    byId("typing").textContent = sentence(names);
  }

  stopped(id) {
    if (this.#typing.has(id)) this.typed(id, false);
  }

  #row(person, buttons) {
    const name = el("b", { title: person.name }, el("bdi", {}, person.name), person.id === this.#me.id ? " (you)" : "");
    return el("li", { class: "here" }, avatar(person),
      el("span", { class: "person" }, name, el("code", {}, `@${person.id}`)), ...buttons);
  }

  #toOthers(person) {
    if (person.id === this.#me.id) return [];
    return [
      this.#button("at", `Mention ${person.name}`, () => this.#acts.mention(person)),
      this.#button("wave", `Wave at ${person.name}`, () => this.#acts.wave(person)),
    ];
  }

  #toMember(person) {
    const isOwner = this.#room.owner === this.#me.id;
    if (person.id === this.#me.id || !isOwner) return [];
    return [this.#button("close", `Remove ${person.name}`, () => this.#acts.remove(person))];
  }

  #button(name, label, onclick) {
    return el("button", { class: "round small", type: "button", "aria-label": label, title: label, onclick }, icon(name));
  }
}

const byName = (a, b) => a.name.localeCompare(b.name);

function sentence(names) {
  if (names.length === 0) return "";
  if (names.length > 2) return "Several people are typing";
  return `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} typing`;
}
