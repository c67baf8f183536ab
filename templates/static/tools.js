import { announce, byId, el } from "./dom.js";

const LINES = 6;
const SHOWN_MS = 2_000;

/** The latest events as they came, by name and channel. */
export class Wire {
  #list = byId("wire");

  add({ event, channel = "to you" }) {
    this.#list.append(el("li", { title: `${event} on ${channel}, ${new Date().toLocaleTimeString()}` },
      event === "pusher:subscription_succeeded" ? "subscribed" : event.replace(/^pusher:/, ""), " ", el("span", {}, channel)));
    while (this.#list.childElementCount > LINES) this.#list.firstElementChild.remove();
  }
}

export function copyButtons() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    const code = byId(button.dataset.copy);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        announce("Copied");
        button.textContent = "Copied";
        setTimeout(() => (button.textContent = "Copy"), SHOWN_MS);
      } catch {
        getSelection().selectAllChildren(code); // no clipboard without TLS: one key press is left
      }
    });
  }
}

/** A drawer that is open when the window gets wide enough to need none. */
export function closeDrawersWhenWide() {
  matchMedia("(min-width: 1081px)").addEventListener("change", ({ matches }) => {
    if (matches) for (const drawer of document.querySelectorAll(".drawer:popover-open")) drawer.hidePopover();
  });
}
