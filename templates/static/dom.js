/** `el("p", {class: "x", onclick: f}, "text", node)`: text is always text, never markup. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const byId = (id) => document.getElementById(id);

/** An icon that the page holds in a `<template>`. */
export const icon = (name) => byId(`icon-${name}`).content.firstElementChild.cloneNode(true);

export const isPerson = (data) => typeof data?.id === "string" && typeof data.name === "string";

export function avatar({ id, name }) {
  const node = el("span", { class: "avatar", "aria-hidden": "true" }, initial(name));
  colour(node, id);
  return node;
}

/** One person, one colour; the stylesheet sees to it that each is dark enough for white text. */
export function colour(node, id) {
  let hash = 0;
  for (const character of id) hash = (hash * 31 + character.codePointAt(0)) % 360;
  node.style.setProperty("--hue", (hash * 47) % 360);
}

const initial = (name) => ([...name].find((c) => /[\p{L}\p{N}]/u.test(c)) ?? "?").toUpperCase();

/** Said by a screen reader, seen by nobody. */
export function announce(text) {
  byId("announce").textContent = text;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const short = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export const timeOf = (ms) => clock.format(ms);
const isToday = (ms) => new Date(ms).toDateString() === new Date().toDateString();

export function dayOf(ms) {
  if (isToday(ms)) return "Today";
  return isToday(ms + 86_400_000) ? "Yesterday" : date.format(ms);
}

export const whenOf = (ms) => (isToday(ms) ? clock : short).format(ms);

export function time(ms, text) {
  return el("time", { datetime: new Date(ms).toISOString(), title: new Date(ms).toLocaleString() }, text);
}

/** Brings `list` to `items`: one node per `item.id`, kept where it is, so that focus stays too. */
export function keep(list, items, make, update = () => {}) {
  const old = new Map([...list.children].map((node) => [node.dataset.id, node]));
  const nodes = items.map((item) => {
    const node = old.get(String(item.id)) ?? make(item);
    node.dataset.id = item.id;
    update(node, item);
    return node;
  });
  for (const node of old.values()) if (!nodes.includes(node)) node.remove();
  nodes.forEach((node, at) => {
    if (list.children[at] !== node) list.insertBefore(node, list.children[at] ?? null);
  });
}
