import { byId, el } from "./dom.js";

const TYPING_EVERY_MS = 2_500;

/** Where one writes. Shows a message at once, and what becomes of it. */
export class Composer {
  #form = byId("composer");
  #text = byId("text");
  #api;
  #room;
  #me;
  #messages;
  #whisper;
  #toldAt = 0;
  #unsent = new Map(); // by nonce: what may be sent again

  constructor({ api, room, me, messages, whisper }) {
    this.#api = api;
    this.#room = room;
    this.#me = me;
    this.#messages = messages;
    this.#whisper = whisper;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => this.#tellTyping());
    this.#text.addEventListener("blur", () => this.#tellStopped());
  }

  /** Puts `words` where the caret is. */
  insert(words) {
    const { selectionStart: at, value } = this.#text;
    const gap = at > 0 && !/\s$/.test(value.slice(0, at)) ? " " : "";
    this.#text.setRangeText(`${gap}${words}`, at, this.#text.selectionEnd, "end");
    this.#text.focus();
  }

  /** No more writing here. */
  close() {
    for (const control of this.#form.elements) control.disabled = true;
  }

  /** The connection is back: whatever failed for want of one goes out again. */
  resend() {
    for (const [nonce, text] of this.#unsent) this.#send(nonce, text);
  }

  #submit() {
    const text = this.#text.value.trim();
    if (!text) return;
    this.#text.value = "";
    this.#tellStopped();
    const nonce = newNonce();
    this.#messages.add({ id: null, nonce, author: this.#me, text, sent_at: Date.now(), pending: true });
    this.#send(nonce, text);
  }

  async #send(nonce, text) {
    this.#unsent.delete(nonce);
    const node = this.#messages.node(nonce);
    if (!node) return; // it arrived over the channel, so its answer alone was lost
    this.#messages.fate(node, "pending", "Sending…");
    try {
      const { message } = await this.#api.post(`/rooms/${this.#room.id}/messages`, { text, nonce });
      this.#messages.add(message);
    } catch (problem) {
      if (this.#messages.node(nonce)) this.#failed(node, nonce, text, problem);
    }
  }

  #failed(node, nonce, text, problem) {
    if (problem.again) this.#unsent.set(nonce, text);
    const button = (label, onclick) => el("button", { class: "text", type: "button", onclick }, label);
    this.#messages.fate(node, "failed", `Not sent. ${problem.message}`,
      problem.again ? button("Retry", () => this.#send(nonce, text)) : null,
      button("Discard", () => {
        this.#unsent.delete(nonce);
        this.#messages.remove(nonce);
        if (!this.#text.value) this.#text.value = text;
        this.#text.focus();
      }));
  }

  #tellTyping() {
    if (!this.#text.value.trim()) return this.#tellStopped();
    if (Date.now() - this.#toldAt < TYPING_EVERY_MS) return;
    if (this.#whisper({ typing: true })) this.#toldAt = Date.now();
  }

  #tellStopped() {
    if (this.#toldAt && this.#whisper({ typing: false })) this.#toldAt = 0;
  }
}

// Not crypto.randomUUID(): browsers keep it from pages served without TLS, except on loopback.
function newNonce() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
