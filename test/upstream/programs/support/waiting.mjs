import { setTimeout as delay } from 'node:timers/promises';

export { delay };

/** Resolves to the result of `promise`, or to `otherwise` after `ms`. */
export function within(ms, promise, otherwise) {
  return Promise.race([promise, delay(ms, otherwise)]);
}

/** Resolves to true when `condition` returns true, or to false after `ms`. */
export async function becomesTrue(ms, condition) {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) return false;
    await delay(5);
  }
  return true;
}

/** Resolves to the first uncaught error, which would end this process. */
export function uncaught() {
  return new Promise((resolve) => process.on('uncaughtException', resolve));
}
