// Is standard input an AsyncAPI 3.0.0 document? By AsyncAPI's own JSON Schema; and do its references lead somewhere?
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import Ajv from "ajv";
import formats from "ajv-formats";

const schema = createRequire(import.meta.url)("@asyncapi/specs/schemas/3.0.0.json");
const document = JSON.parse(readFileSync(0, "utf8"));

const ajv = new Ajv({ strict: false, allErrors: true, meta: false, validateSchema: false });
formats(ajv);
const validate = ajv.compile(schema);
const wrong = validate(document) ? [] : validate.errors.map(({ instancePath, message }) => `${instancePath} ${message}`);

(function follow(node) {
  if (typeof node !== "object" || node === null) return;
  if (typeof node.$ref === "string") {
    const found = node.$ref.slice(2).split("/").reduce((at, part) => at?.[part], document);
    if (found === undefined) wrong.push(`${node.$ref} leads nowhere`);
  }
  Object.values(node).forEach(follow);
})(document);

if (wrong.length) {
  console.error(wrong.join("\n"));
  process.exit(1);
}
