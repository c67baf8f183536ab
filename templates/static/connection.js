import { byId, el } from "./dom.js";

const WORDS = {
  connecting: "Connecting",
  connected: "Connected",
  reconnecting: "Reconnecting",
  offline: "Offline",
  failed: "Not connected",
};
const PATIENCE_MS = 2_000; // a short break is not worth a sentence

/** The badge, and the sentence that is shown when it lasts. */
export class Connection {
  #badge = byId("state");
  #notice = byId("notice");
  #wasConnected = false;
  #timer;
  #final = false;
  #says;

  constructor(says = "Nothing arrives live just now. What you write is kept, and the rest follows once the connection is back.") {
    this.#says = says;
  }

  show(state, { error } = {}) {
    const shown = this.#shown(state);
    this.#wasConnected ||= shown === "connected";
    this.#badge.dataset.state = shown;
    this.#badge.querySelector(".word").textContent = WORDS[shown];
    this.#badge.title = error?.message ?? "";
    if (this.#final) return;
    if (shown === "connected") {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#notice.textContent = "";
    } else if (shown === "failed") {
      this.end(failure(error));
    } else {
      this.#timer ??= setTimeout(() => (this.#notice.textContent = this.#says), PATIENCE_MS);
    }
  }

  /** A sentence that stays: nothing more comes here. */
  end(sentence) {
    clearTimeout(this.#timer);
    this.#final = true;
    this.#notice.classList.add("bad");
    const { href } = document.querySelector(".top .brand");
    this.#notice.replaceChildren(sentence, " ", el("a", { href }, "Go back to the start"));
  }

  #shown(state) {
    if (state === "connecting" || state === "waiting") return this.#wasConnected ? "reconnecting" : "connecting";
    return state === "closed" ? "offline" : state;
  }
}

function failure(error) {
  if (error?.code === "unauthorized") return "Nobody sits here any more.";
  if (error?.code === "no_transport") return "This provider has nothing that a browser can connect to. Reload to see what is new.";
  return `No live connection: ${error?.message ?? "the server refused it"}.`;
}
