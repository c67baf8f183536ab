/**
 * Objects and arrays, all the way down: what `apply` wrote into the server's state could not be rolled
 * back. What is frozen was seen before, so that an event costs what it changed.
 */
export function freeze(value) {
  if (Object.isFrozen(value) || !isPlain(value)) return value;
  Object.values(Object.freeze(value)).forEach(freeze);
  return value;
}

const isPlain = (value) => Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
