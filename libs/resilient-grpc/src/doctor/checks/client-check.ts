import type { InternalGrpcClient } from '../../client/internal-grpc-client.js';
import { duration, oneLine } from '../../telemetry/log/log-text.js';
import type { CheckResult } from '../check-result.js';
import type { TimeBudget } from '../time-budget.js';

/** Checks whether a client of this library becomes READY with the target, which may have several addresses. */
export async function clientCheck(
  client: InternalGrpcClient,
  timeoutMs: number,
  { clock }: TimeBudget,
): Promise<CheckResult> {
  const startedAt = clock.now();
  const facts = () => ({
    target: client.canonicalTarget,
    state: client.connectivity.state,
    tookMs: Math.round(clock.now() - startedAt),
    lastError: client.connectivity.lastError,
  });
  try {
    await client.waitForReady({ timeoutMs });
    return { check: 'client', status: 'ok', says: `READY in ${duration(clock.now() - startedAt)}`, facts: facts() };
  } catch (error) {
    const why = client.connectivity.lastError ?? (error instanceof Error ? error.message : String(error));
    const says = `not READY within ${duration(timeoutMs)}: ${oneLine(why)}`;
    return { check: 'client', status: 'failed', says, remedy: 'see the findings above', facts: facts() };
  }
}
