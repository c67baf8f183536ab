/**
 * Milliseconds before try number `attempt` (from 0): `floor` plus anything up to a ceiling that
 * doubles ("full jitter": clients thrown off together come back apart). Without a floor, a run of
 * small draws would be a hot loop.
 */
export function backoff(attempt, { base = 1000, cap = 30_000, floor = 100, random = Math.random } = {}) {
  return Math.round(floor + random() * Math.min(cap, base * 2 ** attempt));
}
