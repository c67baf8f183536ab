/** Waiting on a real clock, and a clock that the test moves. */

/** `until(condition, what)` for so long, `what` being a text or what makes one; `turn` calls back when it is time to look again. */
export function within(ms, turn = (next) => setTimeout(next, 5)) {
  return async function until(condition, what = () => condition) {
    const deadline = performance.now() + ms; // which no test moves
    for (;;) {
      const value = condition();
      if (value) return value;
      if (performance.now() > deadline) throw new Error(`never came: ${typeof what === "function" ? what() : what}`);
      await new Promise(turn);
    }
  };
}

/** Lets everything that is under way happen. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
}

/** From here on the test moves the time; every draw of the back-off is half of its ceiling. */
export function stopTime(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.mock.method(Math, "random", () => 0.5);
}

export async function pass(t, ms, step = 50) {
  for (let left = ms; left > 0; left -= step) {
    t.mock.timers.tick(Math.min(step, left));
    await settle();
  }
}
