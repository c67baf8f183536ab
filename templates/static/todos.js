import { announce, byId, el, icon, keep } from "./dom.js";
import { base, me, optimistic, page, sayDenied, start, watchBell, wish } from "./page.js";

const { client, connection } = start();

// how: todos
const channel = client.subscribe("private-todos", { position: page.position });
const todos = optimistic({
  client, channel,
  initial: page.state, position: page.position,
  storage: localStorage, key: `todos of ${me.id}`, // what is not sent yet
  reduce: { saved },
  reload: async ({ fetch }) => (await fetch(`${base}/todos/now`)).json(),
  mutations: { change: { apply, send } },
});
// end of how

function apply(all, { id, ...change }) {
  return { ...all, [id]: { ...all[id], id, ...change } };
}

function send({ id, ...change }, { fetch }) {
  return fetch(`${base}/todos/${id}`, {
    method: "PATCH",
    headers: { "Content-Type": "application/json", ...wish() },
    body: JSON.stringify(change),
  });
}

/** What the server says; of two events about a line the later one is right, whichever comes last. */
function saved(all, todo) {
  return todo.version <= all[todo.id]?.version ? all : { ...all, [todo.id]: todo };
}
sayDenied(channel, connection, "This list is for people of the house.");

const WORDS = { queued: "waits", sending: "saving…", waiting: "waits for the network", accepted: "saving…" };

function show(all = todos.state, pending = todos.pending) {
  const list = Object.values(all).filter(({ removed, text }) => !removed && text)
    .sort((a, b) => (a.at ?? Infinity) - (b.at ?? Infinity) || 0); // new ones last, as they were made
  const fates = new Map(pending.map(({ action, status }) => [action.args.id, WORDS[status]]));
  keep(byId("todos"), list, row, (node, { id, text, done }) => {
    node.classList.toggle("done", Boolean(done));
    node.querySelector("input").checked = Boolean(done);
    node.querySelector(".todo-text").textContent = text;
    node.classList.toggle("pending", fates.has(id));
    node.querySelector(".todo-fate").textContent = fates.get(id) ?? "";
  });
  const left = list.filter(({ done }) => !done).length;
  byId("left").textContent = list.length ? `${left} left` : "";
  byId("clear").hidden = left === list.length;
  byId("none").hidden = list.length > 0;
}

function row({ id, text }) {
  const box = el("input", { type: "checkbox", onchange: () => change({ id, done: box.checked }) });
  return el("li", { class: "todo" },
    el("label", {}, box, el("span", { class: "todo-text", dir: "auto" }, text)),
    el("span", { class: "todo-fate" }),
    el("button", {
      class: "round small", type: "button", "aria-label": `Remove: ${text}`,
      onclick: () => {
        const next = document.activeElement.closest("li").nextElementSibling?.querySelector("input");
        change({ id, removed: true });
        (next ?? byId("new-text")).focus();
      },
    }, icon("close")));
}

async function change(args) {
  takenBack();
  const { text } = { ...todos.state[args.id], ...args };
  try {
    await todos.mutate("change", args);
  } catch ({ code, message }) {
    if (code !== "closed") takenBack(args, `Taken back: “${text}”. ${message}`);
  }
}

/** Of the last change that was, why; it can be made again. */
function takenBack(args, why = "") {
  byId("fate").textContent = why;
  byId("again").hidden = !why;
  byId("again").onclick = () => {
    byId("new-text").focus();
    change(args);
  };
  if (why) announce(why);
}

byId("new").addEventListener("submit", (event) => {
  event.preventDefault();
  const { text } = event.target.elements;
  if (!text.value.trim()) return;
  change({ id: newId(), text: text.value.trim() });
  text.value = "";
});
byId("clear").addEventListener("click", () => {
  for (const { id, done, removed } of Object.values(todos.state)) if (done && !removed) change({ id, removed: true });
});
todos.on("change", show);
show();
watchBell(client);

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
