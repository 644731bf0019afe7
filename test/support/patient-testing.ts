import { waitFor as waitForAtMost } from 'nestjs-resilient-grpc/testing';

/** The testing entry with longer waits, for tests on a busy machine: its own default must be shorter than the timeout of a user's test. */
export * from 'nestjs-resilient-grpc/testing';
export const waitFor: typeof waitForAtMost = (condition, options) =>
  waitForAtMost(condition, { timeoutMs: 30_000, ...options });
