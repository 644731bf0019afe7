import type { InternalGrpcClient } from '../../client/create-client.js';
import { duration, oneLine } from '../../telemetry/log/log-text.js';
import { systemClock } from '../../time/clock.js';
import { resultsOf, type CheckResult, type Verdict } from '../check-result.js';
import { errorMessage } from '../../errors/error-message.js';

/** Checks whether a client of this library becomes READY. The target of the client can have several addresses. */
export async function clientCheck(client: InternalGrpcClient, timeoutMs: number): Promise<CheckResult> {
  const startedAt = systemClock.now();
  let verdict: Verdict;
  try {
    await client.waitForReady({ timeoutMs });
    verdict = ['ok', `READY in ${duration(systemClock.now() - startedAt)}`];
  } catch (error) {
    const why = client.connectivity.lastError ?? errorMessage(error);
    verdict = ['failed', `not READY within ${duration(timeoutMs)}: ${oneLine(why)}`, 'see the findings above'];
  }
  const { state, lastError } = client.connectivity;
  const tookMs = Math.round(systemClock.now() - startedAt);
  return resultsOf('client', { target: client.canonicalTarget, state, tookMs, lastError })(...verdict);
}
