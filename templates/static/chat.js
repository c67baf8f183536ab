import { Api } from "./api.js";
import { Bell } from "./bell.js";
import { Composer } from "./composer.js";
import { Connection, GONE } from "./connection.js";
import { byId, colour } from "./dom.js";
import { Messages, readMessage } from "./messages.js";
import { People } from "./people.js";
import { Rooms } from "./rooms.js";
import { closeDrawersWhenWide, copyButtons, Wire } from "./tools.js";

const NEAR_TOP_PX = 200; // earlier messages are asked for before one is there
const OVERLAP = 20; // ids asked for again: two messages may arrive in another order than they were kept

const page = JSON.parse(byId("page").textContent);
const { me, room, base } = page;
const { connect } = await import(page.client);

const client = connect({
  configUrl: page.config,
  headers: () => ({ "X-Seat": String(page.seat) }),
});
const api = new Api(client, base);
const wire = new Wire();
const connection = new Connection();
const messages = new Messages(me);
const presence = client.subscribe(`presence-room-${room.id}`);
const composer = new Composer({
  api, room, me, messages,
  whisper: (data) => presence.whisper("typing", data),
});
const say = (problem) => { byId("notice").textContent = problem.message; };
const people = new People({
  me, room,
  acts: {
    mention: ({ id }) => {
      byId("people-panel").matches(":popover-open") && byId("people-panel").hidePopover();
      composer.insert(`@${id} `);
    },
    wave: ({ id }) => api.post("/waves", { to: id }).catch(say),
    remove: ({ id }) => api.post(`/rooms/${room.id}/members/${id}/remove`).then(({ members }) => people.showMembers(members), say),
  },
});
const bell = new Bell({ api, base });
const rooms = new Rooms({ open: room, base, subscribe: listenTo });

let newestId = page.messages.at(-1)?.id ?? 0; // of those that came over the channel or with the page
let readId = newestId;
let isOver = false;

// Messages. All rooms are subscribed to, for what is unread in them; the open one is shown.

function listenTo({ id }) {
  // how: chat
  const channel = client.subscribe(`private-room-${id}`);
  const off = [
    channel.on("*", (_data, meta) => wire.add(meta)),
    channel.on("message", (data) => {
      if (id === room.id) receive(readMessage(data));
      else rooms.count(id);
    }),
  ];
  // end of how
  if (id === room.id) {
    off.push(channel.on("members", (data) => Array.isArray(data?.members) && people.showMembers(data.members)));
    off.push(channel.onError(({ code }) => code === "denied" && end(`You are no longer a member of ${room.name}.`)));
  }
  return () => {
    for (const each of off) each();
    channel.unsubscribe();
  };
}

function receive(message) {
  people.stopped(message.author.id);
  const isNew = messages.add(message);
  if (message.id !== null) newestId = Math.max(newestId, message.id);
  if (isNew && document.hidden && message.author.id !== me.id) rooms.count(room.id);
  else markRead();
}

async function markRead({ keepalive = false } = {}) {
  if (document.hidden || newestId <= readId || isOver) return;
  readId = newestId;
  rooms.count(room.id, 0);
  // If this one is lost the next one says more, and so does the next look at the room.
  await api.post(`/rooms/${room.id}/read`, { up_to: readId }, { keepalive }).catch(() => {});
}

async function catchUp() {
  const path = `/catch-up?room=${encodeURIComponent(room.id)}&after=${Math.max(0, newestId - OVERLAP)}`;
  try {
    const { messages: missed, members, notifications, rooms: now } = await api.get(path);
    if (missed === null) return location.reload(); // too much to add piece by piece
    for (const message of missed) receive(message);
    people.showMembers(members);
    bell.replace(notifications);
    showRooms(now);
  } catch (problem) {
    if (problem.status === 403) end(problem.message);
    else if (problem.status === 401) end(GONE);
  }
}

/** In the open one nothing is unread. */
function showRooms(now) {
  rooms.replace(now.map((each) => (each.id === room.id ? { ...each, unread: 0 } : each)));
}

function end(sentence) {
  isOver = true;
  connection.denied(sentence);
  composer.close();
  people.show(new Map());
  people.showMembers([]);
}

async function showEarlier() {
  const button = byId("earlier");
  button.disabled = true;
  try {
    const { messages: before, more } = await api.get(`/rooms/${room.id}/messages?before=${messages.firstId}`);
    messages.addOld(before);
    button.hidden = !more;
  } catch (problem) {
    say(problem);
  }
  button.disabled = false;
}

// The connection

client.on("state", (state, detail) => {
  connection.show(state, detail);
  byId("socket-id").textContent = byId("socket-id").title = client.socketId ?? "–";
  if (state === "connected") composer.resend();
});
client.on("error", (error) => console.info(`realtime: ${error.message}`));

client.onGap(catchUp); // of events that are in no history any more, as after a restart of the application
// From a subscription on nothing is missed; what came before, since the page was made, is asked for.
// how: chat
presence.members.on("change", (members) => people.show(members));
presence.onWhisper("typing", (data, { userId }) =>
  people.typed(userId, data?.typing === true));
client.subscribe(`private-room-${room.id}`)
  .on("pusher:subscription_succeeded", catchUp);
// end of how
presence.on("*", (_data, meta) => wire.add(meta));

client.user.on("*", (_data, meta) => wire.add(meta));
client.user.on("notification", (notification) => {
  bell.ring(notification);
  const about = notification?.room;
  if (notification?.kind === "invitation" && isRoom(about)) rooms.add(about);
  if (notification?.kind === "removal" && about?.id !== room.id) rooms.remove(about?.id);
});
client.user.on("notifications-read", (data) => bell.markRead(data?.id ?? null));
client.subscribe("rooms").on("created", (created) => isRoom(created) && rooms.add(created));

const isRoom = (data) => typeof data?.id === "string" && typeof data.name === "string";

// The page

byId("earlier").hidden = !page.more;
byId("earlier").addEventListener("click", showEarlier);
byId("log").addEventListener("scroll", () => {
  const { hidden, disabled } = byId("earlier");
  if (byId("log").scrollTop < NEAR_TOP_PX && !hidden && !disabled) showEarlier();
});
byId("invite")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { name } = event.target.elements;
  try {
    const { members } = await api.post(`/rooms/${room.id}/members`, { name: name.value });
    people.showMembers(members);
    byId("invite-answer").textContent = `${name.value} is a member now.`;
    name.value = "";
  } catch (problem) {
    byId("invite-answer").textContent = problem.message;
  }
});
document.addEventListener("visibilitychange", () => markRead());
addEventListener("pagehide", () => markRead({ keepalive: true }));
for (const node of document.querySelectorAll("[data-avatar]")) colour(node, node.dataset.avatar);
copyButtons();
closeDrawersWhenWide();
messages.addOld(page.messages);
messages.markNew(page.rooms.find(({ id }) => id === room.id)?.unread ?? 0);
messages.toEnd();
people.showMembers(page.members);
bell.replace(page.notifications);
showRooms(page.rooms);
