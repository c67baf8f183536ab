// React 18, wherever React is imported.
export function resolve(specifier, context, next) {
  const isReact = /^react(-dom)?(\/|$)/.test(specifier);
  return next(specifier, isReact ? { ...context, parentURL: import.meta.url } : context);
}
