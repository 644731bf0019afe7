import { duration } from '../../telemetry/log/log-text.js';
import type { CheckResult } from '../check-result.js';

/** The times of a shutdown, in milliseconds. */
export interface ShutdownTimes {
  /** `drain.timeoutMs` of the clients or of the server, whichever is longer, because they drain in parallel. */
  readonly drainMs: number;
  /** `drain.readinessDelayMs`, which is part of `drainMs`. */
  readonly readinessDelayMs: number;
  /** `terminationGracePeriodSeconds` of the pod. */
  readonly gracePeriodMs: number;
  /** Duration of the `preStop` hook, which runs before SIGTERM. */
  readonly preStopMs: number;
}

/** The default of Kubernetes. */
export const DEFAULT_GRACE_PERIOD_MS = 30_000;

// The process ends up to half a second after its drain timeout, and the application's own shutdown hooks need time, too.
const SPARE_MS = 2_000;

/** Checks whether a shutdown ends before Kubernetes sends SIGKILL. */
export function shutdownCheck(times: ShutdownTimes): CheckResult {
  const { drainMs, readinessDelayMs, gracePeriodMs, preStopMs } = times;
  const totalMs = preStopMs + drainMs;
  const facts = { ...times, totalMs, spareMs: gracePeriodMs - totalMs };
  const delay = readinessDelayMs > 0 ? ` (including ${duration(readinessDelayMs)} readiness delay)` : '';
  const drain = `drain ${duration(drainMs)}${delay}`;
  const parts = preStopMs > 0 ? `preStop ${duration(preStopMs)} + ${drain} = ${duration(totalMs)}` : drain;
  const message = `${parts}; SIGKILL after ${duration(gracePeriodMs)}`;
  const result = (status: CheckResult['status'], why: string, remedy: string): CheckResult => {
    return { check: 'shutdown', status, message: `${why}: ${message}`, remedy, facts };
  };
  if (totalMs >= gracePeriodMs) {
    const least = Math.ceil((totalMs + SPARE_MS) / 1_000);
    return result(
      'failed',
      'SIGKILL arrives before the drain ends',
      `set terminationGracePeriodSeconds to ${String(least)} or more, or reduce drain.timeoutMs`,
    );
  }
  if (readinessDelayMs >= drainMs) {
    const remedy = 'set drain.timeoutMs to more than readinessDelayMs plus the duration of the longest request';
    return result('failed', 'readinessDelayMs leaves no time for calls to finish', remedy);
  }
  if (readinessDelayMs === 0 && preStopMs === 0) {
    const remedy =
      'set readinessDelayMs to 5000, or add a preStop sleep; new requests arrive for some seconds after SIGTERM';
    return result('warning', 'the drain does not wait until the Service stops routing to the pod', remedy);
  }
  if (totalMs + SPARE_MS > gracePeriodMs) {
    return result(
      'warning',
      'almost no time for your own shutdown hooks',
      `leave ${duration(SPARE_MS)} between the drain and SIGKILL`,
    );
  }
  return { check: 'shutdown', status: 'ok', message, facts };
}
