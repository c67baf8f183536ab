// ably-js over REST, unmodified: what each call came to goes out as JSON.
import { createHmac, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import Ably from "ably";

const { options, key, revocable, binary } = JSON.parse(process.argv[2]);
const shared = { useBinaryProtocol: binary, logLevel: 0 };
const rest = new Ably.Rest({ ...options, ...shared, key });
const anonymous = (credentials) => new Ably.Rest({ ...options, ...shared, ...credentials });
const name = (part) => `persisted:js-${binary}-${part}`;

const failure = async (promise) => {
  try {
    await promise;
    return null;
  } catch (error) {
    return { code: error.code, statusCode: error.statusCode, href: error.href };
  }
};

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
function jwt(whole, claims) {
  const [kid, secret] = whole.split(":");
  const now = Date.now() / 1000;
  const text = [{ alg: "HS256", typ: "JWT", kid }, { iat: now - 1, exp: now + 60, ...claims }]
    .map(base64url)
    .join(".");
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

const calls = {
  async time() {
    return Math.abs((await rest.time()) - Date.now()) < 60_000;
  },
  async messages() {
    const channel = rest.channels.get(name("messages"));
    const { serials } = await channel.publish([
      { name: "text", data: "ключ" },
      { name: "json", data: { a: [1, null] } },
      { name: "bytes", data: Buffer.from([0, 255]) },
    ]);
    const { items } = await channel.history({ direction: "forwards" });
    return {
      serials: items.every((message, index) => message.serial === serials[index]),
      data: items.map(({ data }) => (Buffer.isBuffer(data) ? [...data] : data)),
      encodings: items.map(({ encoding }) => encoding ?? null),
    };
  },
  async pages() {
    const channel = rest.channels.get(name("pages"));
    for (const part of "abc") await channel.publish(part, "x");
    const found = [];
    let page = await channel.history({ limit: 2 });
    for (; page; page = await page.next()) found.push(page.items.map((message) => message.name));
    return found;
  },
  async idempotent() {
    const channel = rest.channels.get(name("idempotent"));
    for (let time = 0; time < 2; time++) await channel.publish({ id: "own:0", name: "n" });
    return (await channel.history()).items.length;
  },
  async status() {
    const { channelId, status } = await rest.channels.get(name("status")).status();
    return { channelId, active: status.isActive, members: status.occupancy.metrics.presenceMembers };
  },
  async presence() {
    const { presence } = rest.channels.get(name("presence"));
    return [(await presence.get()).items, (await presence.history()).items];
  },
  async batches() {
    const channels = [name("batch"), ""];
    const published = await rest.batchPublish({ channels, messages: { name: "n" } });
    const present = await rest.batchPresence([name("batch"), ":none"]);
    const old = await rest.request("POST", "/messages", 2, {}, { channels, messages: {} }, {});
    return {
      published: [published.successCount, published.failureCount],
      present: [present.successCount, present.results[1].error.code],
      old: [old.success, old.statusCode, old.errorCode, old.items[0].batchResponse.length],
    };
  },
  async requests() {
    const path = `/channels/${encodeURIComponent(name("requests"))}/messages`;
    const sent = await rest.request("post", path, 3, null, { name: "n" }, null);
    const missing = await rest.request("get", "/keys/a.b/requestToken", 3, null, null, null);
    const listed = await rest.request("get", "/channels", 3, { prefix: name("requests") });
    return {
      sent: [sent.statusCode, sent.items.length],
      missing: [missing.success, missing.statusCode, missing.errorCode, !!missing.errorMessage],
      listed: listed.items,
    };
  },
  async errors() {
    return [
      await failure(rest.channels.get(":none").publish("n", "d")),
      await failure(rest.channels.get("foo").history({ limit: 1001 })),
      await failure(anonymous({ key: `${key}wrong`, useTokenAuth: false }).channels.get("a").history()),
      await failure(anonymous({ token: "nobody.token" }).channels.get("a").history()),
    ];
  },
  async tokens() {
    const details = await rest.auth.requestToken({
      clientId: "me",
      ttl: 5000,
      capability: { foo: ["publish", "subscribe"] },
    });
    const limited = anonymous({ token: details.token });
    await limited.channels.get("foo").publish("n", "d");
    return {
      clientId: details.clientId,
      ttl: details.expires - details.issued,
      capability: details.capability,
      refused: (await failure(limited.channels.get("foo").history())).code,
      disguised: await failure(limited.channels.get("foo").publish({ name: "n", clientId: "you" })),
    };
  },
  async tokenRequests() {
    const once = await rest.auth.createTokenRequest({ clientId: "me" });
    const client = anonymous({ authCallback: (_, done) => done(null, once) });
    await client.channels.get("foo").history();
    return { clientId: client.auth.tokenDetails.clientId, again: await failure(client.auth.authorize()) };
  },
  async authUrl() {
    const server = createServer((request, response) => {
      response.setHeader("Content-Type", "application/jwt");
      response.end(jwt(key, { "x-ably-clientId": "of-a-url" }));
    });
    await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
    const client = anonymous({ authUrl: `http://127.0.0.1:${server.address().port}/auth` });
    const channel = client.channels.get(name("auth-url"));
    await channel.publish("n", "d");
    server.close();
    server.closeAllConnections();
    return (await channel.history()).items[0].clientId;
  },
  async revocation() {
    const clientId = randomUUID();
    const theirs = anonymous({ token: jwt(revocable, { "x-ably-clientId": clientId }) });
    await theirs.channels.get("foo").history();
    const owner = anonymous({ key: revocable });
    const targets = [
      { type: "clientId", value: clientId },
      { type: "none", value: "x" },
    ];
    const { successCount, failureCount } = await owner.auth.revokeTokens(targets);
    return {
      counts: [successCount, failureCount],
      refused: (await failure(theirs.channels.get("foo").history())).code,
    };
  },
};

const results = {};
for (const [called, call] of Object.entries(calls)) {
  try {
    results[called] = await call();
  } catch (error) {
    results[called] = { failed: String(error), stack: error.stack };
  }
}
process.stdout.write(JSON.stringify(results));
