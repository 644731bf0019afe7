import { setTimeout as pass } from 'node:timers/promises';

export { pass };

/** What `promise` gives, or `otherwise` when `ms` have passed before. */
export function within(ms, promise, otherwise) {
  return Promise.race([promise, pass(ms, otherwise)]);
}

/** Whether `condition` comes to hold before `ms` have passed. */
export async function becomesTrue(ms, condition) {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) return false;
    await pass(5);
  }
  return true;
}

/** The error that would end this process. */
export function uncaught() {
  return new Promise((resolve) => process.on('uncaughtException', resolve));
}
