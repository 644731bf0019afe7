import type { InternalGrpcClient } from '../../client/create-client.js';
import { duration, oneLine } from '../../telemetry/log/log-text.js';
import { systemClock } from '../../time/clock.js';
import { resultsOf, type CheckResult, type Verdict } from '../check-result.js';
import { errorMessage } from '../../errors/error-message.js';

/**
 * Checks whether a client of this library becomes READY.
 *
 * @param hasFindings true if an earlier check reported a possible cause of a failure
 */
export async function clientCheck(
  client: InternalGrpcClient,
  timeoutMs: number,
  hasFindings: boolean,
): Promise<CheckResult> {
  const startedAt = systemClock.now();
  let verdict: Verdict;
  try {
    await client.waitForReady({ timeoutMs });
    verdict = ['ok', `READY in ${duration(systemClock.now() - startedAt)}`];
  } catch (error) {
    const why = client.connectivity.lastError ?? errorMessage(error);
    const remedy = hasFindings ? 'see the findings above' : 'check the log of the server, or of a proxy in front of it';
    verdict = ['failed', `not READY within ${duration(timeoutMs)}: ${oneLine(why)}`, remedy];
  }
  const { state, lastError } = client.connectivity;
  const tookMs = Math.round(systemClock.now() - startedAt);
  return resultsOf('client', { target: client.canonicalTarget, state, tookMs, lastError })(...verdict);
}
