import { byId } from "./dom.js";
import { draw, strip } from "./chart.js";
import { page, sayDenied, start, watchBell } from "./page.js";

const EVERY_MS = 2_000;
const MINUTE_MS = 60_000;
const ORDER_EVERY_MS = 700;
const KEPT = 60; // delays of each way
const euros = new Intl.NumberFormat(undefined, { style: "currency", currency: "EUR" });

const { client, connection, api } = start({
  says: "Nothing arrives live just now. What was ordered meanwhile follows once the connection is back.",
});
const cost = { socket: { seen: 0, requests: 0, delays: [] }, polling: { seen: 0, requests: 0, delays: [] } };
let orders = []; // of the last minute
let last = page.after; // the id of the last one
let ahead = 0; // of our clock, the server's
let channel, timer;

// how: dashboard
function listen() {
  channel = client.subscribe("private-dashboard");
  channel.on("ordered", (order) => see("socket", [order], { isLive: true }));
  channel.on("pusher:subscription_succeeded", () => ask("socket"));
}

async function ask(way, how) {
  const answer = await request(way, `/orders?after=${last}`);
  see(way, answer.orders, how);
  if (answer.more) await ask(way, how);
}
// end of how

async function poll() {
  await ask("polling", { isLive: true });
  if (heardBy() === "polling") timer = setTimeout(poll, EVERY_MS);
}

const heardBy = () => document.querySelector("[name=by]:checked").value;

/** A request that is counted, and by which the two clocks are compared; a failed one has nothing. */
async function request(way, path) {
  const began = Date.now();
  cost[way].requests += 1;
  try {
    const answer = await api.get(path);
    ahead = answer.now - (began + Date.now()) / 2;
    say("");
    return answer;
  } catch (problem) {
    say(way === "polling" ? `${problem.message} Asked again in two seconds.` : problem.message);
    return { orders: [], more: false };
  }
}

/** Events and answers may cross: each order counts once. */
function see(way, found, { isLive = false } = {}) {
  const fresh = found.filter(({ id }) => !orders.some((order) => order.id === id));
  orders = [...orders, ...fresh.map((order) => ({ ...order, way: isLive ? way : "before" }))];
  last = Math.max(last, ...fresh.map(({ id }) => id));
  if (isLive) {
    cost[way].seen += fresh.length;
    const delays = fresh.map(({ at }) => Math.max(0, Date.now() + ahead - at));
    cost[way].delays = [...cost[way].delays, ...delays].slice(-KEPT);
  }
  show();
}

function show() {
  const now = Date.now() + ahead;
  orders = orders.filter(({ at }) => at > now - MINUTE_MS - EVERY_MS);
  const lately = orders.filter(({ at }) => at > now - MINUTE_MS);
  const turnover = lately.reduce((sum, { cents }) => sum + cents, 0) / 100;
  byId("orders").textContent = lately.length;
  byId("turnover").textContent = euros.format(turnover);
  byId("average").textContent = lately.length ? euros.format(turnover / lately.length) : "–";
  byId("latest").textContent = lately.at(-1)?.item ?? "–";
  const highest = draw(byId("chart"), lately, { now, span: MINUTE_MS, step: EVERY_MS, ways: ["before", "polling", "socket"] });
  byId("top").textContent = highest ? `at most ${highest}` : "none in the last minute";
  for (const [way, { seen, requests, delays }] of Object.entries(cost)) {
    byId(way).classList.toggle("on", way === heardBy());
    strip(byId(way).querySelector(".strip"), delays);
    byId(`${way}-seen`).textContent = seen;
    byId(`${way}-requests`).textContent = requests;
    byId(`${way}-delay`).textContent = delays.length ? `${median(delays).toLocaleString()} ms` : "–";
  }
}

const median = (values) => Math.round([...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]);

function begin() {
  clearTimeout(timer);
  channel?.unsubscribe();
  channel = undefined;
  show();
  if (heardBy() === "polling") return poll();
  listen();
  sayDenied(channel, connection, "These figures are for people of the house.");
}

function say(text) {
  byId("fate").textContent = text;
  byId("fate").classList.toggle("bad", text !== "");
}

const place = () => api.post("/orders").then(() => say(""), (problem) => {
  byId("keep").checked = false;
  say(problem.message);
});
byId("order").addEventListener("click", place);
setInterval(() => byId("keep").checked && !document.hidden && place(), ORDER_EVERY_MS);
setInterval(() => document.hidden || show(), 1_000);
for (const way of document.querySelectorAll("[name=by]")) way.addEventListener("change", begin);
begin();
show();
watchBell(client);
