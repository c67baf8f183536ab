const WIDTH = 600;
const HEIGHT = 159;
const GAP = 4;

/**
 * Bars: how many of `orders` fall into each `step` (ms) of the last `span`. Those of one `way` stand
 * on those of the ones before it. The steps are the clock's, so that a bar keeps its orders as it
 * moves. Returns how many the highest stands for.
 */
export function draw(svg, orders, { now, span, step, ways }) {
  const bars = span / step;
  const first = Math.floor(now / step) - bars + 1;
  const counts = new Map(ways.map((way) => [way, new Array(bars).fill(0)]));
  for (const { at, way } of orders) {
    const bar = Math.floor(at / step) - first;
    if (bar >= 0 && bar < bars) counts.get(way)[bar] += 1;
  }
  const heights = new Array(bars).fill(0);
  const totals = heights.map((_none, bar) => ways.reduce((sum, way) => sum + counts.get(way)[bar], 0));
  const highest = Math.max(...totals);
  const unit = (HEIGHT - 8) / Math.max(4, highest);
  for (const [way, numbers] of counts) {
    const path = numbers.map((count, bar) => {
      if (count === 0) return "";
      heights[bar] += count * unit;
      const [x, y] = [(bar * WIDTH) / bars + GAP / 2, HEIGHT - heights[bar]];
      return `M${x} ${y.toFixed(1)}h${WIDTH / bars - GAP}v${(count * unit).toFixed(1)}H${x}z`;
    });
    svg.querySelector(`.${way}`).setAttribute("d", path.join(""));
  }
  svg.setAttribute("aria-label", orders.length
    ? `${orders.length} orders in the last minute, at most ${highest} in two seconds`
    : "No orders in the last minute");
  return highest;
}

/** A mark for each of `delays` (ms), where it is between now and a little more than two seconds. */
export function strip(svg, delays) {
  const marks = delays.map((delay) => `M${Math.min(2_190, Math.max(10, delay))} 1v18`);
  svg.querySelector(".marks").setAttribute("d", marks.join(""));
}
