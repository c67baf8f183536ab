export const isOffline = () => globalThis.navigator?.onLine === false;

/** Until `ms` are over or `ended` resolves; at once when the network, the page or the client is back. */
export async function pause(ms, ended, { client, isWakeable = true } = {}) {
  const ends = [];
  const over = new Promise((resolve) => {
    const timer = ms < Infinity && setTimeout(resolve, ms);
    ends.push(() => clearTimeout(timer));
    if (!isWakeable) return;
    for (const event of ["online", "pageshow"]) {
      globalThis.addEventListener?.(event, resolve);
      ends.push(() => globalThis.removeEventListener?.(event, resolve));
    }
    ends.push(client?.on("state", (state) => state === "connected" && resolve()));
  });
  await Promise.race([over, ended]);
  for (const end of ends) end?.();
}
