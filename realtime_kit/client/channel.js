import { Emitter, RealtimeError, Stream } from "./events.js";

export const needsAuth = (name) => /^(private|presence)-/.test(name);
export const isEncrypted = (name) => name.startsWith("private-encrypted-");

export class Channel extends Stream {
  state = "subscribing";
  error = null; // why it is denied or unsubscribed
  isBehind = false; // its position is not known yet
  #hub; // publish, leave, report, decrypt
  #errors = new Emitter();
  #waiting = [];
  #secret; // null: what arrives is opened already
  #order = Promise.resolve();

  constructor(name, hub) {
    super();
    this.name = name;
    this.#hub = hub;
  }

  whisper(event, data) {
    if (!needsAuth(this.name) || isEncrypted(this.name)) {
      throw this.#error("whisper_unsupported", "only private and presence channels carry whispers");
    }
    return this.state === "subscribed" && this.#hub.publish(`client-${event}`, data);
  }

  onWhisper(event, handler) {
    return this.on(`client-${event}`, handler);
  }

  onError(handler) {
    return this.#errors.on("error", handler);
  }

  onGap(handler) {
    return this.#errors.on("gap", handler);
  }

  ready() {
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => (this.error ? reject(this.error) : resolve(this)));
      this.settle();
    });
  }

  unsubscribe() {
    if (this.state === "unsubscribed") return;
    this.become("unsubscribed");
    this.#hub.leave();
  }

  // From here on: for the client.

  become(state, error = null) {
    this.state = state;
    this.error = state === "unsubscribed" ? this.#error(state, state) : error;
    this.settle();
    if (error) this.#fail(error);
  }

  interrupt() {
    if (this.state === "subscribed") this.become("subscribing");
  }

  authorized(answer) {
    this.#secret = answer.shared_secret;
  }

  succeeded() {
    if (this.state !== "denied") this.become("subscribed");
  }

  deliver(event, data, meta) {
    if (event === "pusher:subscription_succeeded") this.succeeded(data);
    const isSealed = isEncrypted(this.name) && this.#secret !== null && !event.startsWith("pusher:");
    if (!isSealed) return super.deliver(event, data, meta);
    // A later event must not overtake.
    this.#order = this.#order.then(() => this.#decrypt(event, data, meta));
  }

  settle() {
    if (this.state === "subscribing" || (this.state === "subscribed" && this.isBehind)) return;
    for (const settle of this.#waiting.splice(0)) settle();
  }

  tellGap(detail) {
    return this.#errors.emit("gap", detail);
  }

  async #decrypt(event, { nonce, ciphertext }, meta) {
    try {
      const opened = await this.#hub.decrypt({ nonce, ciphertext, sharedSecret: this.#secret });
      const data = JSON.parse(typeof opened === "string" ? opened : new TextDecoder().decode(opened));
      if (this.state !== "unsubscribed") super.deliver(event, data, meta);
    } catch (cause) {
      this.#fail(this.#error("decrypt_failed", `cannot decrypt ${event}`, cause));
    }
  }

  #fail(error) {
    this.#hub.report(error, this.#errors.emit("error", error));
  }

  #error(code, why, cause) {
    return new RealtimeError(code, `${this.name}: ${why}`, { channel: this.name, cause });
  }
}
