/** What the application answered instead of what was asked for; `again`: it may work later. */
class Problem extends Error {
  constructor(message, { status = 0, again = false } = {}) {
    super(message);
    Object.assign(this, { status, again });
  }
}

const TIMEOUT_MS = 10_000;

/** Calls to the demo's own views, through the realtime client's `fetch`. */
export class Api {
  constructor(client, base) {
    Object.assign(this, { client, base });
  }

  get(path) {
    return this.#call(path, {});
  }

  /** `keepalive`: it is sent even if the page goes away. */
  post(path, data = {}, { keepalive = false } = {}) {
    const headers = { "Content-Type": "application/json" };
    return this.#call(path, { method: "POST", body: JSON.stringify(data), headers, keepalive });
  }

  async #call(path, { headers, ...init }) {
    let response;
    try {
      response = await this.client.fetch(this.base + path, {
        ...init,
        headers: { Accept: "application/json", ...headers },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch {
      throw new Problem("The server does not answer.", { again: true });
    }
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const { status } = response;
    throw new Problem(answer.error ?? `The server answered ${status}.`, { status, again: status === 429 || status >= 500 });
  }
}
