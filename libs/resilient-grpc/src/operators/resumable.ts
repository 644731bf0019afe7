import type { Observable } from 'rxjs';
import type { GrpcObservable } from '../call/grpc-observable.js';
import { compareNumbers, isNumeric, type CompareCursors } from '../policy/resume/cursor-track.js';
import type { Problems } from '../policy/service-config/problem.js';
import { streamOf } from './call-sequence.js';
import { readLength, readOptions } from './options.js';
import { ResumableRun, type ResumeSettings } from './resumable-run.js';
import { readResumePace, type ResumeBackoffOptions } from './resume-pace.js';
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
  const settings = readOptions((problems) => readSettings(factory, given, problems));
  return streamOf((sink, outer) => new ResumableRun(settings, sink, outer));
}

const REMEDY =
  'compare if cursors are neither numbers nor bigints (64-bit ids arrive as strings or Longs), such as ' +
  'compare: (a, b) => Number(BigInt(a) - BigInt(b)), or convert cursor and seed to a BigInt';

type ReadableOptions<T, C> = BaseResumeOptions<T, C> & { readonly compare?: CompareCursors<C> | undefined };

function readSettings<T, C>(
  factory: ResumeSettings<T, C>['factory'],
  options: ReadableOptions<T, C>,
  problems: Problems,
): ResumeSettings<T, C> {
  const { cursor, seed, compare, heartbeat, onError, maxAgeMs = Infinity } = options;
  const functions: Readonly<Record<string, unknown>> = { factory, cursor, compare, heartbeat, onError };
  for (const [key, value] of Object.entries(functions)) {
    const isRequired = key === 'factory' || key === 'cursor';
    if (typeof value === 'function' || (value === undefined && !isRequired)) continue;
    problems.add(`resumable.${key}`, 'a function', value);
  }
  if (compare === undefined && !isNumeric(seed)) {
    problems.add('resumable.seed', 'a number up to 2^53 or a bigint', seed, REMEDY);
  }
  const onComplete: string = options.onComplete ?? 'complete';
  if (onComplete !== 'complete' && onComplete !== 'resume') {
    problems.add('resumable.onComplete', "'complete' or 'resume'", onComplete);
  }
  return {
    factory,
    cursor,
    seed,
    compare: compare ?? compareNumbers,
    heartbeat,
    onError,
    resumesCompleted: onComplete === 'resume',
    maxAgeMs: readLength(maxAgeMs, 'resumable.maxAgeMs', problems),
    pace: readResumePace(options, 'resumable', problems),
    scheduler: options.scheduler,
    random: options.random,
  };
}
