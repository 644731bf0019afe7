import { asyncScheduler, throwError, timeout, type MonoTypeOperatorFunction, type Observable } from 'rxjs';
import { IdleTimeoutError } from '../errors/idle-timeout-error.js';
import { readLength, readOptions } from './options.js';
import { timerMs, type Seams } from './seams.js';

/**
 * Fails with `IdleTimeoutError` when nothing came for `ms` milliseconds, since the subscription or the last value, and
 * unsubscribes. Infinity: never.
 * @throws {GrpcConfigurationError} when `ms` is no number above 0.
 */
export function idleTimeout<T>(ms: number, seams: Seams = {}): MonoTypeOperatorFunction<T> {
  readOptions((problems) => readLength(ms, 'idleTimeout', problems));
  const { scheduler = asyncScheduler } = seams;
  if (ms === Infinity) return (source) => source;
  return timeout<T, Observable<never>>({
    each: timerMs(ms),
    scheduler,
    with: () => throwError(() => new IdleTimeoutError(ms)),
  });
}
