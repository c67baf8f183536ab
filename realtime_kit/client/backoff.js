// Full jitter, over a floor: small draws make no hot loop.
export function backoff(attempt, options = {}) {
  const { base = 1000, cap = 30_000, floor = 100, random = Math.random } = options;
  return Math.round(floor + random() * Math.min(cap, base * 2 ** attempt));
}
