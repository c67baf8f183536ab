// Source of the format: WHATWG HTML, "Server-sent events".

/** An event stream in pieces → `take({id?, event?, data?, retry?})` for each block of lines. */
export function parser(take) {
  let rest = "";
  let block = {};

  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/); // a \n may follow the last \r
    rest = lines.pop();
    for (const line of lines) {
      const [, name, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
      if (line === "") {
        take(block);
        block = {};
      } else if (name === "data") block.data = "data" in block ? `${block.data}\n${value}` : value;
      else if (name === "retry" && /^\d+$/.test(value)) block.retry = Number(value);
      else if (name === "event" || (name === "id" && !value.includes("\0"))) block[name] = value;
    }
  };
}
