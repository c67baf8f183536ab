const WIDTH = 600;
const HEIGHT = 160;

/** How many of `ages` (ms) fall into each `step` of the last `span`, as a line in the SVG's box. */
export function draw(svg, ages, { span, step, top }) {
  const counts = new Array(span / step).fill(0);
  for (const age of ages) {
    const at = counts.length - 1 - Math.floor(Math.max(0, age) / step);
    if (at >= 0) counts[at] += 1;
  }
  const highest = Math.max(4, ...counts);
  const points = counts.map((count, at) =>
    [(at * WIDTH) / (counts.length - 1), HEIGHT - 2 - (count * (HEIGHT - 10)) / highest]);
  const line = `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;
  svg.querySelector(".line").setAttribute("d", line);
  svg.querySelector(".area").setAttribute("d", `${line}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`);
  svg.setAttribute("aria-label", ages.length
    ? `${ages.length} orders in the last minute, at most ${Math.max(...counts)} in two seconds`
    : "No orders in the last minute");
  top.textContent = `top: ${highest}`;
}
