import type { TransportModule } from "./transport.js";

export const supported: TransportModule["supported"];
export const open: TransportModule["open"];
