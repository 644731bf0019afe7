import { waitFor as waitForAtMost } from '../../libs/resilient-grpc/src/testing/wait-for.js';

/** The testing entry with longer waits, for `npm test` on a busy machine: its own default must be shorter than the timeout of a user's test. */
export * from '../../libs/resilient-grpc/src/testing/index.js';
export const waitFor: typeof waitForAtMost = (condition, options) =>
  waitForAtMost(condition, { timeoutMs: 30_000, ...options });
