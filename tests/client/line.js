/** Between a client and a port: cuts what goes through it, and lets nothing through for a while. */
import { createServer, connect as connectTcp } from "node:net";

export async function proxy(t, port) {
  const through = new Set();
  let isBlocked = false;
  const server = createServer((near) => {
    if (isBlocked) return near.on("error", () => {}).destroy();
    const far = connectTcp(port, "127.0.0.1");
    for (const [one, other] of [[near, far], [far, near]]) {
      through.add(one);
      one.on("error", () => {}).on("close", () => (through.delete(one), other.destroy()));
      one.pipe(other);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => through.forEach((socket) => socket.destroy());
  t.after(() => (cut(), server.close()));
  const block = (value) => {
    isBlocked = value;
    if (value) cut();
  };
  return { cut, block, port: server.address().port };
}
