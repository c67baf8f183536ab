// Full jitter: clients thrown off together come back apart. The floor: small draws are no hot loop.
export function backoff(attempt, options = {}) {
  const { base = 1000, cap = 30_000, floor = 100, random = Math.random } = options;
  return Math.round(floor + random() * Math.min(cap, base * 2 ** attempt));
}
