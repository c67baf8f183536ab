import { decode } from "../events.js";

export class OptimisticError extends Error {
  name = "OptimisticError";

  constructor(code, message, { cause, ...details } = {}) {
    super(message, cause && { cause });
    Object.assign(this, { code, ...details });
  }
}

/**
 * One try: what `send` returned, or the body of the response that it returned. All that goes wrong
 * is an OptimisticError: `network` where nobody answered a request that carries the mutation's id.
 */
export async function attempt({ send, mutation, attempts }, { fetch, timeout, abort }) {
  const { signal } = abort;
  const context = { mutation, signal, attempt: attempts, fetch: carry(mutation, signal, fetch) };
  try {
    return await within(timeout, abort, () => read(send(context)));
  } catch (cause) {
    if (cause instanceof OptimisticError) throw cause;
    throw new OptimisticError("refused", cause?.message ?? String(cause), { cause });
  }
}

/** What `act` resolves to, unless `abort` is aborted before, as it is when the time is over. */
export async function within(ms, abort, act) {
  const { signal } = abort;
  const ended = new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
  const timer = setTimeout(() => abort.abort(new OptimisticError("network", "no answer in time")), ms);
  try {
    return await Promise.race([act(), ended]);
  } finally {
    clearTimeout(timer);
  }
}

/** `fetch` with the mutation's id, so that the application can tell a repetition. */
function carry(mutation, signal, fetch) {
  return async (input, init = {}) => {
    const headers = new Headers(init.headers ?? input.headers);
    headers.set("X-Mutation-Id", mutation);
    try {
      return await fetch(input, { signal, ...init, headers });
    } catch (cause) {
      if (cause.name === "AbortError") throw cause; // by the caller: nothing to try again
      throw new OptimisticError("network", cause.message, { cause });
    }
  };
}

async function read(sent) {
  const answer = await sent;
  if (typeof answer?.ok !== "boolean" || typeof answer.text !== "function") return answer;
  const { status } = answer;
  const body = answer.bodyUsed ? undefined : decode(await text(answer));
  // A redirect that was followed came to some page, as a rule that of the login.
  if (answer.ok && !answer.redirected) return body;
  const why = answer.redirected ? "answered a redirect" : `answered ${status}`;
  const reason = body?.error ?? body?.message;
  throw new OptimisticError("refused", typeof reason === "string" ? reason : why, {
    status,
    answer: body,
    retryAfter: status === 429 || status === 503 ? delay(answer.headers.get("Retry-After")) : undefined,
  });
}

const text = (response) =>
  response.text().catch((cause) => {
    throw new OptimisticError("network", cause.message, { cause });
  });

/** `Retry-After`, seconds or a date, as ms. */
function delay(value) {
  if (!value) return undefined;
  const ms = /^\d+$/.test(value) ? value * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
