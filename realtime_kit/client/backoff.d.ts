export interface BackoffOptions {
  /** Ceiling of the first draw, ms. Default 1000; doubles with each attempt. */
  base?: number;
  /** Highest ceiling, ms. Default 30000. */
  cap?: number;
  /** Added to each draw, ms. Default 100. */
  floor?: number;
  /** From 0 to 1. Default `Math.random`. */
  random?: () => number;
}

/** Milliseconds before try number `attempt`, counted from 0. Pure but for `random`. */
export function backoff(attempt: number, options?: BackoffOptions): number;
