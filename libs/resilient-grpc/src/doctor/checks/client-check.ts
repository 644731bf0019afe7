import type { InternalGrpcClient } from '../../client/internal-grpc-client.js';
import { duration, oneLine } from '../../telemetry/log/log-text.js';
import { systemClock } from '../../time/clock.js';
import type { CheckResult } from '../check-result.js';

/** Checks whether a client of this library becomes READY with the target, which may have several addresses. */
export async function clientCheck(client: InternalGrpcClient, timeoutMs: number): Promise<CheckResult> {
  const startedAt = systemClock.now();
  const facts = () => ({
    target: client.canonicalTarget,
    state: client.connectivity.state,
    tookMs: Math.round(systemClock.now() - startedAt),
    lastError: client.connectivity.lastError,
  });
  try {
    await client.waitForReady({ timeoutMs });
    return {
      check: 'client',
      status: 'ok',
      message: `READY in ${duration(systemClock.now() - startedAt)}`,
      facts: facts(),
    };
  } catch (error) {
    const why = client.connectivity.lastError ?? (error instanceof Error ? error.message : String(error));
    const message = `not READY within ${duration(timeoutMs)}: ${oneLine(why)}`;
    return { check: 'client', status: 'failed', message, remedy: 'see the findings above', facts: facts() };
  }
}
