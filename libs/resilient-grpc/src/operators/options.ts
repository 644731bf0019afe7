import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { problemMessage } from '../policy/options/describe-value.js';
import { unknownOptionMessage } from '../policy/options/value-rules.js';
import { asyncScheduler, type SchedulerLike } from 'rxjs';
import { systemClock, type Clock, MAX_TIMER_MS } from '../time/clock.js';

/**
 * Checks the options of an operator. `messages` maps each path to its message, or to `undefined` if the value is valid.
 * @throws {GrpcConfigurationError} if any value is invalid.
 */
export function checkOptions(messages: Readonly<Record<string, string | undefined>>): void {
  const problems = Object.entries(messages).flatMap(([path, message]) =>
    message === undefined ? [] : [{ path, message }],
  );
  if (problems.length > 0) throw new GrpcConfigurationError(problems);
}

/** Returns the message for `options` that are not an object; `example` shows some of the possible keys. */
export function objectProblem(options: unknown, example: string): string | undefined {
  return isObject(options) ? undefined : problemMessage(`an options object, such as ${example}`, options);
}

/** Returns the message of each key of `options` that is not in `known`, for options at `path`. A key that is `undefined` is ignored. */
export function unknownOptionMessages(options: object, known: object, path: string): Readonly<Record<string, string>> {
  const unknown = Object.entries(options).filter(([key, value]) => value !== undefined && !Object.hasOwn(known, key));
  return Object.fromEntries(
    unknown.map(([key]) => [`${path}.${key}`, unknownOptionMessage(key, Object.keys(known))] as const),
  );
}

/** Returns `options`, or an empty object if `options` is invalid, so that keys can be read before `checkOptions` reports the problem. */
export function readableOptions<T extends object>(options: T): T {
  return isObject(options) ? options : ({} as T);
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Scheduler and random source, for tests. */
export interface SchedulerOptions {
  /** Schedules the timers and supplies the current time. @defaultValue asyncScheduler; durations are measured with monotonic time */
  readonly scheduler?: SchedulerLike | undefined;
  /** Returns a number in [0, 1). @defaultValue Math.random */
  readonly random?: (() => number) | undefined;
}

/**
 * Adapts `scheduler` to a `Clock`. If `scheduler` is `undefined`, uses RxJS's timers and measures durations with monotonic time. RxJS
 * cannot wait for a turn of the event loop, so `defer` runs its task synchronously. In tests with fake timers, a task therefore runs
 * exactly when it is due.
 */
export function schedulerClock(scheduler: SchedulerLike | undefined): Clock {
  const timers = scheduler ?? asyncScheduler;
  return {
    // The default scheduler uses wall-clock time, which can be set back.
    now: () => scheduler?.now() ?? systemClock.now(),
    epoch: () => timers.now(),
    setTimer: (task, ms) => {
      const scheduled = timers.schedule(task, timerMs(ms));
      return { clear: () => scheduled.unsubscribe() };
    },
    defer: (task) => {
      task();
    },
  };
}

/** Returns `ms`, rounded and clamped to the range of a Node timer: 0 to 24.8 days. */
export function timerMs(ms: number): number {
  return Math.min(Math.max(Math.round(ms), 0), MAX_TIMER_MS);
}
