import { Api } from "./api.js";
import { Connection, GONE } from "./connection.js";
import { byId, colour } from "./dom.js";
import { copyButtons } from "./tools.js";

/** What the application tells the page. */
export const page = JSON.parse(byId("page").textContent);
export const { me, base } = page;

const { connect } = await import(page.client);
export const { optimistic } = await import(page.optimistic);

/** Nobody sits here any more: that is the end of the page. */
export let leave;

/** A client whose state the badge shows; `says`: what is to be known while nothing arrives. */
export function start({ says, ...options } = {}) {
  const client = connect({
    configUrl: page.config,
    headers: () => ({ "X-Seat": String(page.seat) }),
    ...options,
  });
  const connection = new Connection(says);
  client.on("state", (state, detail) => connection.show(state, detail));
  client.on("error", (error) => console.info(`realtime: ${error.message}`));
  leave = () => {
    connection.end(GONE);
    client.close();
  };
  return { client, connection, api: new Api(client, base) };
}

/** Says so where the page may not hear a channel. */
export function sayDenied(channel, connection, sentence) {
  channel.onError(({ code }) => code === "denied" && connection.denied(sentence));
}

/** The bell in the bar, on pages that do not list what rings it. */
export function watchBell(client) {
  client.user.on("notification", () => showUnread(unread() + 1));
  client.user.on("notifications-read", (data) => showUnread(data?.id == null ? 0 : unread() - 1));
}

const unread = () => Number(byId("bell").dataset.unread);

export function showUnread(number) {
  const bell = byId("bell");
  bell.dataset.unread = Math.max(0, number);
  bell.setAttribute("aria-label", `Notifications, ${unread() || "none"} unread`);
  bell.querySelector(".count").hidden = unread() === 0;
  bell.querySelector(".count").textContent = unread();
}

/** What the visitor wants the server to do with the next change. */
export function wish() {
  return { Accept: "application/json", "X-Demo-Answer": document.querySelector("[name=answer]:checked").value };
}

for (const node of document.querySelectorAll("[data-avatar]")) colour(node, node.dataset.avatar);
copyButtons();
