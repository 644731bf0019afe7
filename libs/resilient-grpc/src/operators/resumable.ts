import type { Observable } from 'rxjs';
import type { GrpcObservable } from '../call/grpc-observable.js';
import { compareNumbers, isNumeric, type CompareCursors } from '../policy/resume/cursor-track.js';
import * as v from 'valibot';
import { requireOptions } from '../policy/options/option-problems.js';
import { converted, millisecondsOrNever, oneOf, openObject, POSITIVE } from '../policy/options/option-schemas.js';
import { streamOf } from './call-sequence.js';
import { ResumableRun, type ResumeSettings } from './resumable-run.js';
import { RESUME_PACE_SCHEMAS, type ResumeBackoffOptions } from './resume-pace.js';
import type { SchedulerOptions } from './scheduler-options.js';

/** Options of `resumable` that do not depend on the cursor type. */
export interface BaseResumeOptions<T, C> extends ResumeBackoffOptions, SchedulerOptions {
  /**
   * Position of a message in the stream. `factory` passes it to the server, so that the next call starts after it. Later messages have
   * later cursors. Messages with the same cursor count as one if a call fails between them: the undelivered ones are skipped.
   */
  readonly cursor: (message: T) => C;
  /** Cursor of the first call. It is not compared before the first message has arrived. */
  readonly seed: C;
  /** Action after the server ends a call cleanly. Use 'resume' for feeds without an end. @defaultValue 'complete' */
  readonly onComplete?: 'complete' | 'resume' | undefined;
  /**
   * True if a message is only a heartbeat or a progress report (bookmark, progress notification). Such a message is not delivered. Its
   * cursor counts if it is newer; the server must then have sent everything up to it.
   */
  readonly heartbeat?: ((message: T) => boolean) | undefined;
  /**
   * Decides what follows a failed call, before the default rules apply; `cursor` is where the next call would start. 'resume' still waits
   * for the backoff, and five server failures at one cursor, each soon after its call started, end the stream. 'resume' is ignored for
   * failures decided by the client (`reason` deadline, cancelled, inbound-cancelled). Not called if this process or its client shuts down.
   * @defaultValue lost connections and transient server statuses are resumed; client decisions (deadline, cancel), final statuses, and
   * errors without a gRPC status end the stream
   */
  readonly onError?: ((error: unknown, cursor: C) => 'resume' | 'complete' | 'fail' | undefined) | undefined;
  /**
   * Maximum age of a call in milliseconds, ±10 %. The call is then cancelled and replaced by the next one, before a proxy closes it. Use a
   * value above `minHealthyMs`, so that the next call starts immediately. @defaultValue none
   */
  readonly maxAgeMs?: number | undefined;
}

/**
 * Options of `resumable`. Numbers and bigints are compared by default. Any other type requires `compare`: 64-bit ids arrive as strings or
 * Longs, and `"9" > "10"`. Numbers above 2^53, as produced by `longs: Number`, end the stream because they are rounded.
 */
export type ResumeOptions<T, C> = BaseResumeOptions<T, C> &
  ([C] extends [number | bigint]
    ? {
        /** Returns a number below 0 if `a` comes before `b`, 0 if both are the same position, and above 0 if `a` comes after `b`. */
        readonly compare?: CompareCursors<C> | undefined;
      }
    : {
        /** Returns a number below 0 if `a` comes before `b`, 0 if both are the same position, and above 0 if `a` comes after `b`. */
        readonly compare: CompareCursors<C>;
      });

/**
 * Combines several calls into one stream: if a call fails mid-stream, the next one starts after the cursor of the last delivered message.
 *
 * Within one subscription, every message is delivered once and in order, provided that the server can serve from the cursor. Messages that
 * the server repeats at the start of a call are dropped by their cursor. A cursor that goes back later in a call ends the stream with
 * `CursorRegressionError` (DATA_LOSS). Iteration applies flow control to the server only if `factory` returns the client's call without a
 * `pipe()`; apply operators after `resumable`.
 *
 * Lost connections are resumed for as long as they last, at the pace of `backoff`. Five server failures at one cursor, each soon after its
 * call started, end the stream with `ResumeError`. Progress (a cursor that advanced) and a call that lasted `minHealthyMs` reset backoff
 * and counters.
 * @param factory Creates the call that starts after `cursor`; `attempt` is 1 for the first call and increases by 1 with each call. An
 * exception from it ends the stream.
 * @throws {GrpcConfigurationError} if the options are invalid, or if `seed` requires `compare`.
 */
export function resumable<T, C>(
  factory: (cursor: C, attempt: number) => Observable<T>,
  options: ResumeOptions<T, NoInfer<C>> & { readonly seed: C },
): GrpcObservable<T> {
  // The cast is safe: the two forms of `ResumeOptions` differ only in whether `compare` is optional.
  const given = options as ReadableOptions<T, C>;
  const settings = readSettings(factory, given);
  return streamOf((sink, outer) => new ResumableRun(settings, sink, outer));
}

const REMEDY =
  'compare if cursors are neither numbers nor bigints (64-bit ids arrive as strings or Longs), such as ' +
  'compare: (a, b) => Number(BigInt(a) - BigInt(b)), or convert cursor and seed to a BigInt';

type ReadableOptions<T, C> = BaseResumeOptions<T, C> & { readonly compare?: CompareCursors<C> | undefined };

const callback = v.function('a function');
const optionEntries = {
  factory: callback,
  cursor: callback,
  compare: v.optional(callback),
  heartbeat: v.optional(callback),
  onError: v.optional(callback),
  seed: converted(
    'a number up to 2^53 or a bigint',
    (seed) => (isNumeric(seed) ? seed : undefined),
    () => REMEDY,
  ),
  onComplete: v.optional(oneOf('complete', 'resume'), 'complete'),
  maxAgeMs: v.optional(millisecondsOrNever(POSITIVE), Infinity),
  ...RESUME_PACE_SCHEMAS,
};
const EXPECTED = 'an object such as { cursor: (message) => message.id, seed: 0 }';
const schemas = {
  numeric: openObject(optionEntries, EXPECTED),
  compared: openObject({ ...optionEntries, seed: v.unknown() }, EXPECTED),
};

function readSettings<T, C>(
  factory: ResumeSettings<T, C>['factory'],
  options: ReadableOptions<T, C>,
): ResumeSettings<T, C> {
  const { cursor, seed, compare, heartbeat, onError, scheduler, random } = options;
  const schema = compare === undefined ? schemas.numeric : schemas.compared;
  const parsed = requireOptions(schema, { ...options, factory }, 'resumable');
  return {
    factory,
    cursor,
    seed,
    compare: compare ?? compareNumbers,
    heartbeat,
    onError,
    resumesCompleted: parsed.onComplete === 'resume',
    maxAgeMs: parsed.maxAgeMs,
    pace: { ...parsed.backoff, minHealthyMs: parsed.minHealthyMs },
    scheduler,
    random,
  };
}
