/** The state machines that docs/client.md draws. */
import { readFileSync } from "node:fs";

const BLOCK = /^```mermaid\nstateDiagram-v2\n(.*?)^```$/gms;
const LINE = /^ {4}(\S+) --> (\S+)(?: : ([^:;]+))?$/; // Mermaid ends a cause at ; and :

function parse(block) {
  return block.trimEnd().split("\n").map((line) => {
    const found = LINE.exec(line);
    if (!found) throw new Error(`no transition: ${line}`);
    const [, from, to, causes] = found;
    return { way: `${from} --> ${to}`, causes: causes?.split(" / ") ?? [] };
  });
}

const page = readFileSync(new URL("../../docs/client.md", import.meta.url), "utf8");

/** Each is a list of `{way: "FROM --> TO", causes}`; `[*]` is the beginning and the end. */
export const [client, channel] = [...page.matchAll(BLOCK)].map(([, block]) => parse(block));
