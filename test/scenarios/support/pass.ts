import { waitFor } from 'nestjs-resilient-grpc/testing';
import type { Run } from './scenario.js';

/** Waits for `ms` milliseconds, or until the run is aborted. */
export async function pass(run: Run, ms: number): Promise<void> {
  const endsAt = performance.now() + ms;
  await waitFor(() => run.signal.aborted || performance.now() >= endsAt, { timeoutMs: ms + 5_000, intervalMs: 10 });
}
