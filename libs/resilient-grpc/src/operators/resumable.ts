import type { Observable } from 'rxjs';
import * as v from 'valibot';
import type { GrpcObservable } from '../call/grpc-observable.js';
import { CursorRegressionError, ResumeError } from '../errors/stream-errors.js';
import {
  compareNumbers,
  CursorTrack,
  isNumeric,
  isRounded,
  MAX_OVERLAP,
  type CompareCursors,
  type CursorPlace,
  type EndedCall,
} from '../policy/resume/decide-resume.js';
import { defined, describeData, problemMessage } from '../policy/options/describe-value.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { object, rulesOf } from '../policy/options/option-schemas.js';
import { StatusCode } from '../status/status-code.js';
import {
  streamOf,
  type CallFailed,
  type CallSequence,
  type SequenceSettings,
  type StreamOperator,
} from './call-sequence.js';
import { sessionEntries, type ResumeBackoffOptions } from './retry-backoff.js';
import type { SchedulerOptions } from './scheduler-clock.js';

export interface BaseResumeOptions<T, C> extends ResumeBackoffOptions, SchedulerOptions {
  /**
   * Position of a message in the stream. `factory` passes it to the server, so that the next call starts after it. Later messages have
   * later cursors. Messages with the same cursor count as one if a call fails between them: the undelivered ones are skipped.
   */
  readonly cursor: (message: T) => C;
  /**
   * Cursor of the first call. The first message is delivered even if its cursor is not newer than the seed. A heartbeat before the first
   * message counts only if the cursor of the heartbeat is newer than the seed.
   */
  readonly seed: C;
  /** Action after the server ends a call cleanly. Use 'resume' for feeds without an end. @defaultValue 'complete' */
  readonly onComplete?: 'complete' | 'resume' | undefined;
  /**
   * True if a message only reports progress, such as a heartbeat or a Kubernetes bookmark. Such a message is not delivered. If its cursor
   * is newer than the last one, the next call starts after it; the server must then have sent all messages up to this cursor.
   */
  readonly heartbeat?: ((message: T) => boolean) | undefined;
  /**
   * Decides the next step after a failed call, before the default rules apply; `cursor` is the cursor after which the next call would
   * start. After 'resume', the next call still waits for the backoff. Five server failures at one cursor, each soon after its call started,
   * still end the stream, as does `backoff.maxAttempts`. 'resume' is ignored after a deadline or a cancellation (`reason` deadline,
   * cancelled, inbound-cancelled). Not called if this process or the client is shutting down.
   * @defaultValue resumes after lost connections, timeouts of one call, rejections by a limit or a circuit breaker, and transient server
   * statuses without a pushback that forbids retries; all other failures, such as a deadline, a cancellation, a final status, an invalid
   * response, or an error without a gRPC status, end the stream
   */
  readonly onError?: ((error: unknown, cursor: C) => 'resume' | 'complete' | 'fail' | undefined) | undefined;
  /**
   * Maximum age of a call in milliseconds, above 0, with ±10% jitter. At this age, the call is cancelled and replaced by the next one, so
   * that a proxy does not close it first. Use at least 1.2 times `minHealthyMs`, because of the jitter, so that the next call starts
   * immediately.
   * @defaultValue none
   */
  readonly maxAgeMs?: number | undefined;
}

/**
 * Options of `resumable`. Numbers and bigints are compared by default. Any other type requires `compare`, because 64-bit ids arrive as
 * strings or Longs, and `"9" > "10"`. Without `compare`, integers beyond 2^53 - 1, as produced by `longs: Number`, end the stream because
 * they may be rounded.
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
 * the server repeats at the start of a call are detected by their cursors and dropped. A cursor that goes back later in a call ends the
 * stream with `CursorRegressionError` (DATA_LOSS). Iteration applies flow control to the server only if `factory` returns the client's call
 * without a `pipe()`; apply operators after `resumable`.
 *
 * By default, the stream retries after a lost connection until it succeeds, at the pace of `backoff`. Five server failures at one cursor,
 * each soon after its call started, end the stream with `ResumeError`; UNAVAILABLE does not count. Progress (a cursor that advanced) or a
 * call that lasted `minHealthyMs` resets backoff and counters.
 * @param factory Creates the call that starts after `cursor`; `attempt` is 1 for the first call and increases by 1 with each call. If
 * `factory` throws, the stream ends.
 * @throws {GrpcConfigurationError} if the options are invalid, or if `seed` requires `compare`.
 */
export function resumable<T, C>(
  factory: (cursor: C, attempt: number) => Observable<T>,
  // TypeScript infers `C` only from `seed`. Its `NoInfer` would require version 5.4.
  options: ResumeOptions<T, [C][C extends unknown ? 0 : never]> & { readonly seed: C },
): GrpcObservable<T> {
  // The cast is safe: the two forms of `ResumeOptions` differ only in whether `compare` is optional.
  const given = options as ReadableOptions<T, C>;
  const settings = readSettings(factory, given);
  return streamOf(settings, (calls) => new ResumableStream(settings, calls));
}

const REMEDY =
  'write compare: (a, b) => Number(BigInt(a) - BigInt(b)) if cursors are neither numbers nor bigints (64-bit ids arrive as ' +
  'strings or Longs), or convert cursor and seed to bigints';

type ReadableOptions<T, C> = BaseResumeOptions<T, C> & { readonly compare?: CompareCursors<C> | undefined };

const schema = v.pipe(
  object({
    ...sessionEntries,
    factory: v.function(),
    cursor: v.function(),
    seed: v.optional(v.unknown()),
    compare: v.optional(v.function()),
    onComplete: v.optional(v.picklist(['complete', 'resume'])),
    heartbeat: v.optional(v.function()),
  }),
  rulesOf((value) => {
    const { compare, seed } = value as { readonly compare?: unknown; readonly seed?: unknown };
    if (compare !== undefined || isNumeric(seed)) return {};
    return { seed: problemMessage('a number up to 2^53 - 1 or a bigint', seed, REMEDY) };
  }),
);

function readSettings<T, C>(
  factory: ResumeSettings<T, C>['factory'],
  options: ReadableOptions<T, C>,
): ResumeSettings<T, C> {
  const given = defined({ ...options, factory });
  const { backoff, minHealthyMs, maxAgeMs } = requireOptions(schema, given, 'resumable');
  const { compare = compareNumbers } = options;
  return { ...options, factory, compare, maxAgeMs, pace: { ...backoff, minHealthyMs } };
}

/** Options of `resumable` with defaults applied. */
interface ResumeSettings<T, C> extends SequenceSettings, Omit<BaseResumeOptions<T, C>, keyof SequenceSettings> {
  readonly factory: (cursor: C, attempt: number) => Observable<T>;
  readonly compare: CompareCursors<C>;
}

/** One resumable stream: starts each call after the cursor, and drops messages that the server repeats. */
class ResumableStream<T, C> implements StreamOperator<T> {
  readonly name = 'resumable';

  private readonly track: CursorTrack<C>;

  constructor(
    private readonly settings: ResumeSettings<T, C>,
    private readonly calls: CallSequence<T>,
  ) {
    this.track = new CursorTrack(settings.seed, settings.compare);
  }

  get hasProgressed(): boolean {
    return this.track.progressed;
  }

  createCall(attempt: number): Observable<T> {
    this.track.callBegan();
    return this.settings.factory(this.track.cursor, attempt);
  }

  onMessage(message: T): void {
    const { settings, track, calls } = this;
    const isHeartbeat = settings.heartbeat?.(message) ?? false;
    const cursor = settings.cursor(message);
    if (isHeartbeat) {
      track.heartbeat(cursor);
      return;
    }
    const place = track.take(cursor);
    if (place === 'overlap') return;
    if (place !== 'newer' && place !== 'same') throw placementError(place, cursor, track.cursor);
    // Delivered even if the call has already ended, because the next call starts after this message.
    if (!calls.isOver) calls.deliver(message);
  }

  onCallEnd(failure: CallFailed | undefined): void {
    if (failure !== undefined || this.settings.onComplete === 'resume') this.calls.resume(failure);
    else this.calls.succeed();
  }

  onError(error: unknown): EndedCall['requested'] {
    return this.settings.onError?.(error, this.track.cursor);
  }

  describePoison() {
    return {
      where: `at cursor ${describeData(this.track.cursor)} without progress`,
      remedy: 'start after this cursor with a later seed',
    };
  }
}

/** Creates the error for a message that cannot be delivered because of its cursor; `previous` is the cursor of the stream. */
function placementError(
  place: Exclude<CursorPlace, 'newer' | 'same' | 'overlap'>,
  cursor: unknown,
  previous: unknown,
): ResumeError | CursorRegressionError {
  switch (place) {
    case 'went-back':
      return new CursorRegressionError(
        previous,
        cursor,
        `A message with cursor ${describeData(cursor)} arrived after cursor ${describeData(previous)} within one call; the server must send messages in ` +
          'order, and `cursor` and `compare` must match that order',
      );
    case 'too-much-overlap':
      return new ResumeError(
        'overlap',
        StatusCode.INTERNAL,
        `More than ${String(MAX_OVERLAP)} messages arrived with cursors up to ${describeData(previous)}, but the call should have started after cursor ${describeData(previous)}; pass ` +
          "the factory's cursor to the server, and make the server start after it",
      );
    case 'not-comparable':
      return new ResumeError(
        'cursor',
        StatusCode.INTERNAL,
        isRounded(cursor)
          ? `The cursor of a message is ${describeData(cursor)}, a number beyond 2^53 - 1, which may be rounded, so the next message could ` +
              'be dropped as a duplicate; load 64-bit fields with `longs: String`, and return a BigInt from `cursor`'
          : `The cursor of a message is ${describeData(cursor)} (${typeof cursor}), which cannot be compared with ${describeData(previous)}; return ` +
              'a number or a BigInt from `cursor`, or set `compare`',
      );
  }
}
