import { announce, avatar, byId, el, keep, time, whenOf } from "./dom.js";
import { says } from "./bell.js";
import { base, me, sayDenied, showUnread, start } from "./page.js";

const KEPT = 30;
const notices = new Map();

// A page that only listens needs no socket: events by stream, else by polling.
// how: notifications
const { client, connection, api } = start({ order: ["sse", "poll"] });
const channel = client.subscribe(`private-notifications-${me.id}`);

channel.on("changed", (notice) => {
  const isNew = !notices.has(notice.id) && !notice.read;
  notices.set(notice.id, notice);
  show(isNew ? notice : null);
});
// end of how
channel.ready().then(() => show(), () => {});
sayDenied(channel, connection, "These notifications are somebody else’s.");

function show(fresh) {
  const list = [...notices.values()].sort((a, b) => b.id - a.id).slice(0, KEPT);
  const unread = list.filter(({ read }) => !read).length;
  showUnread(unread);
  byId("read-all").hidden = unread === 0;
  byId("none").hidden = list.length > 0;
  byId("notifications").removeAttribute("aria-busy");
  keep(byId("notifications"), list, row, (node, { read }) => {
    node.classList.toggle("unread", !read);
    node.querySelector(".unread-dot").hidden = read;
  });
  if (fresh && document.hasFocus()) announce(`${fresh.sender.name}${says(fresh)}`);
}

function row(notice) {
  const { id, sender, room, kind, at } = notice;
  const children = [
    avatar(sender),
    el("span", { class: "what" }, el("b", {}, el("bdi", {}, sender.name)), says(notice)),
    el("span", { class: "unread-dot", role: "img", "aria-label": "unread" }),
    time(at, whenOf(at)),
  ];
  const onclick = () => read(id);
  return el("li", {}, room && kind !== "removal"
    ? el("a", { href: `${base}/rooms/${room.id}`, onclick }, ...children)
    : el("button", { type: "button", onclick }, ...children));
}

/** One, or all of them; the other tabs learn of it from the database. */
async function read(id) {
  const changed = [...notices.values()].filter((each) => !each.read && (id === undefined || each.id === id));
  const mark = (isRead) => {
    for (const each of changed) notices.set(each.id, { ...notices.get(each.id), read: isRead });
    show();
  };
  if (changed.length === 0) return;
  mark(true);
  try {
    await api.post("/notifications/read", id === undefined ? {} : { id }, { keepalive: true });
  } catch (problem) {
    mark(false);
    announce(`${problem.message} It stays unread.`);
    byId("note-fate").textContent = `${problem.message} It stays unread.`;
  }
}

byId("read-all").addEventListener("click", () => read());
byId("note").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { to, text } = event.target.elements;
  const fate = byId("note-fate");
  try {
    await api.post("/notes", { to: to.value, text: text.value });
    fate.textContent = to.value === me.id ? "" : `Written for ${to.selectedOptions[0].textContent}.`;
    text.value = "";
  } catch (problem) {
    fate.textContent = problem.message;
  }
  fate.classList.toggle("bad", text.value !== "");
});
