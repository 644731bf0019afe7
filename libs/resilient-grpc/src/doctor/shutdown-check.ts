import { duration } from '../telemetry/log/log-text.js';
import { resultsOf, type CheckResult } from './check-result.js';

export interface ShutdownTimes {
  /** `drain.timeoutMs` of the clients or of the server, whichever is longer, because they drain in parallel. */
  readonly drainMs: number;
  /** `drain.readinessDelayMs`, which is part of `drainMs`. */
  readonly readinessDelayMs: number;
  readonly gracePeriodMs: number;
  /** Duration of the `preStop` hook, which runs before SIGTERM. */
  readonly preStopMs: number;
}

export const DEFAULT_GRACE_PERIOD_MS = 30_000;

// Minimum time in milliseconds between the end of the drain and SIGKILL. The process can take half a second longer than its drain timeout,
// and the application's own shutdown hooks need time, too.
const MIN_SPARE_MS = 2_000;

export function shutdownCheck(times: ShutdownTimes): CheckResult {
  const { drainMs, readinessDelayMs, gracePeriodMs, preStopMs } = times;
  const totalMs = preStopMs + drainMs;
  const result = resultsOf('shutdown', { ...times, totalMs, spareMs: gracePeriodMs - totalMs });
  const delay = readinessDelayMs > 0 ? ` (including a readiness delay of ${duration(readinessDelayMs)})` : '';
  const drain = `drain ${duration(drainMs)}${delay}`;
  const parts = preStopMs > 0 ? `preStop ${duration(preStopMs)} + ${drain} = ${duration(totalMs)}` : drain;
  const message = `${parts}; SIGKILL after ${duration(gracePeriodMs)}`;
  if (totalMs >= gracePeriodMs) {
    const minSeconds = Math.ceil((totalMs + MIN_SPARE_MS) / 1_000);
    const remedy = `set terminationGracePeriodSeconds to ${String(minSeconds)} or more, or reduce drain.timeoutMs`;
    return result('failed', `the drain does not end before SIGKILL: ${message}`, remedy);
  }
  if (readinessDelayMs >= drainMs) {
    const remedy = 'set drain.timeoutMs to more than readinessDelayMs plus the duration of the longest request';
    return result('failed', `the drain leaves no time for calls to finish: ${message}`, remedy);
  }
  if (readinessDelayMs === 0 && preStopMs === 0) {
    const remedy =
      'set readinessDelayMs to 5000, or add a preStop sleep; new requests arrive for a few seconds after SIGTERM';
    return result('warning', `the drain does not wait until the Service stops routing to the pod: ${message}`, remedy);
  }
  if (totalMs + MIN_SPARE_MS > gracePeriodMs) {
    const remedy = `leave ${duration(MIN_SPARE_MS)} between the drain and SIGKILL`;
    return result('warning', `almost no time for your own shutdown hooks: ${message}`, remedy);
  }
  return result('ok', message);
}
