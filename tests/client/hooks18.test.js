// The tests of the hooks, with the oldest React that they support.
import assert from "node:assert/strict";
import { register } from "node:module";
import { test } from "node:test";

register("./react18/resolve.mjs", import.meta.url);
const { version } = await import("react");

test("this is React 18", () => assert.match(version, /^18\./));
await import("./hooks.test.js");
await import("./ssr.test.js");
