// Hooks for React 18 and later. What each name means is told in index.d.ts.
export { RealtimeProvider, useConnectionState, useRealtime } from "./client.js";
export { useChannel, useChannelState, useEvent, usePresence, useSocket } from "./channels.js";
export { useOptimistic } from "./optimistic.js";
export { useEventSource, usePolling } from "./requests.js";
