// Every visible text with less contrast to its ground than WCAG 2.2, 1.4.3 asks for: 4.5, or 3 if
// it is large. Colours are read back from a canvas, because computed ones may be in any notation.
() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const read = (color) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], ground) => [r, g, b].map((value, at) => value * a + ground[at] * (1 - a));
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ratio = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const ancestors = (node) => {
    const all = [];
    for (let at = node; at; at = at.parentElement) all.unshift(at);
    return all;
  };
  const groundOf = (node) =>
    ancestors(node).reduce((ground, each) => over(read(getComputedStyle(each).backgroundColor), ground), [255, 255, 255]);
  const found = [];
  let checked = 0;
  for (const node of document.body.querySelectorAll("*")) {
    const text = [...node.childNodes].filter((child) => child.nodeType === 3).map((child) => child.data).join("").trim()
      || (node.placeholder && !node.value ? node.placeholder : "");
    const box = node.getBoundingClientRect();
    const clipped = ancestors(node).some((each) => getComputedStyle(each).clipPath !== "none");
    if (!text || clipped || box.width < 2 || !node.checkVisibility({ visibilityProperty: true })) continue;
    if (node.matches(":disabled, :disabled *")) continue;
    const style = getComputedStyle(node, node.placeholder ? "::placeholder" : null);
    const opacity = ancestors(node).reduce((product, each) => product * getComputedStyle(each).opacity, 1);
    const ground = groundOf(node);
    const [r, g, b, a] = read(style.color);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const contrast = ratio(over([r, g, b, a * opacity], ground), ground);
    checked += 1;
    if (contrast < (isLarge ? 3 : 4.5)) found.push(`${contrast.toFixed(2)}: ${node.tagName} .${node.className} "${text.slice(0, 40)}"`);
  }
  return { checked, found };
}
