import assert from "node:assert/strict";
import { test } from "node:test";
import { backoff } from "../../realtime_kit/client/backoff.js";

test("the ceiling doubles up to the cap, over the floor", () => {
  const high = { random: () => 1, base: 1000, cap: 30_000, floor: 100 };
  const ceilings = [0, 1, 2, 3, 4, 5, 6, 50, 2000].map((attempt) => backoff(attempt, high));
  assert.deepEqual(ceilings, [1100, 2100, 4100, 8100, 16_100, 30_100, 30_100, 30_100, 30_100]);
});

test("full jitter: from the floor, evenly", () => {
  assert.equal(backoff(9, { random: () => 0 }), 100);
  assert.equal(backoff(0, { random: () => 0, floor: 1000 }), 1000);
  assert.equal(backoff(2, { random: () => 0.25 }), 1100);
});

test("without options it draws by itself within the bounds", () => {
  const draws = Array.from({ length: 200 }, () => backoff(1));
  assert.ok(draws.every((ms) => ms >= 100 && ms <= 2100));
  assert.ok(new Set(draws).size > 50);
});
