// Rendered on a server: no page, no connection, and the browser takes it over without a difference.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createElement as h } from "react";
import { renderToString } from "react-dom/server";
import {
  RealtimeProvider, useChannel, useChannelState, useConnectionState, useEvent, useEventSource, useOptimistic, usePolling,
  usePresence, useRealtime, useSocket,
} from "../../realtime_kit/client/react/index.js";

function Everything() {
  const nothing = () => { throw new Error("not on a server"); };
  useEvent("orders", "shipped", nothing);
  const values = [
    useRealtime(),
    useConnectionState(),
    useChannel("orders"),
    useChannelState("orders"),
    usePresence("presence-room"),
    useEventSource("/events", { onMessage: nothing }),
    useSocket().isConnected,
    usePolling({ fetcher: nothing }).isLoading,
    useOptimistic({ initial: ["a"], channel: "orders", reduce: {}, reload: nothing }).state,
  ];
  return h("pre", null, JSON.stringify(values));
}

test("every hook renders on a server", (t) => {
  t.mock.method(globalThis, "fetch", () => assert.fail("no request"));
  const warned = t.mock.method(console, "error", () => {});
  const options = { fetch: () => assert.fail("no connection") };
  const html = renderToString(h(RealtimeProvider, { options }, h(Everything)));
  const shown = JSON.parse(html.replace(/^<pre>|<\/pre>$/g, "").replaceAll("&quot;", '"'));
  const unknown = { state: "subscribing", error: null };
  const nobody = { members: [], me: null, count: 0 };
  assert.deepEqual(shown, [null, "connecting", null, unknown, nobody, "connecting", false, true, ["a"]]);
  assert.equal(warned.mock.callCount(), 0);
});
