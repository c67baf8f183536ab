// What is not sent yet, in a Storage: mutations with a name, because functions cannot be kept.

export function save(storage, key, entries) {
  const kept = entries.filter(({ action, status }) => action && status !== "accepted");
  const rows = kept.map(({ mutation, action }) => ({ mutation, ...action }));
  if (rows.length) storage.setItem(key, JSON.stringify(rows));
  else storage.removeItem(key);
}

/** Throws what `JSON.parse` throws, and a TypeError where it is something else. */
export function load(storage, key) {
  const rows = JSON.parse(storage.getItem(key) ?? "[]");
  const isOurs = ({ mutation, name }) => typeof mutation === "string" && typeof name === "string";
  if (!Array.isArray(rows) || !rows.every(isOurs)) throw new TypeError(`${key} holds no mutations`);
  return rows;
}
