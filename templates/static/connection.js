import { byId, el } from "./dom.js";

const WORDS = {
  connecting: "Connecting",
  connected: "Connected",
  reconnecting: "Reconnecting",
  offline: "Offline",
  failed: "Not connected",
};
export const GONE = "Nobody sits here any more.";
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

  /** `end`, unless it is for another reason: that nobody sits here any more. */
  async denied(sentence) {
    const headers = { Accept: "application/json" };
    const status = await fetch(location.href, { headers }).then((response) => response.status, () => 0);
    this.end(status === 401 ? GONE : sentence);
  }

  #shown(state) {
    if (state === "connecting" || state === "waiting") return this.#wasConnected ? "reconnecting" : "connecting";
    return state === "closed" ? "failed" : state;
  }
}

function failure(error) {
  if (error?.code === "unauthorized") return GONE;
  if (error?.code === "no_transport") return "This provider has nothing that a browser can connect to. Reload to see what is new.";
  return `No live connection: ${error?.message ?? "the server refused it"}.`;
}
