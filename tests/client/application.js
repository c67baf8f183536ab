/** The application that a live test runs against. */
import assert from "node:assert/strict";

export const { APPLICATION } = process.env;

/** POSTs JSON, through a client's own `fetch` if it is given; the JSON of the answer. */
export async function call(path, body = {}, by = { fetch }) {
  const response = await by.fetch(`${APPLICATION}${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text);
}
