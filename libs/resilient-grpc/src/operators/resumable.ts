import type { Observable } from 'rxjs';
import type { GrpcObservable } from '../call/grpc-observable.js';
import { compareNumbers, isNumeric, type CompareCursors } from '../policy/resume/cursor-track.js';
import type { Problems } from '../policy/service-config/problem.js';
import { streamOf } from './call-sequence.js';
import { readLength, readOptions } from './options.js';
import { ResumableRun, type ResumeSettings } from './resumable-run.js';
import { readResumePace, type ResumePace } from './resume-pace.js';
import type { Seams } from './seams.js';

/** Options of `resumable` that hold for every kind of cursor. */
export interface ResumeRules<T, C> extends ResumePace, Seams {
  /**
   * Where a message stands in the stream: what `factory` needs to have the server go on behind it. Later messages have later
   * cursors. Messages that share one are taken for one when a call breaks off between them.
   */
  readonly cursor: (message: T) => C;
  /** Where the first call begins. It is compared to nothing before a message has come. */
  readonly seed: C;
  /** What follows when the server ends a call in order. 'resume': for feeds that have no end. @defaultValue 'complete' */
  readonly onComplete?: 'complete' | 'resume' | undefined;
  /**
   * Whether a message is only a sign of life, or tells how far the server is (bookmark, progress notification). Such a message
   * is not handed over. Its cursor counts where it is a newer one: then everything up to it must have been given.
   */
  readonly heartbeat?: ((message: T) => boolean) | undefined;
  /**
   * Decides about a failed call before the rules do; `cursor` is where the next call would begin. 'resume' still waits its backoff,
   * and five failures of the server at one cursor, each soon after its call began, end the stream. 'resume' is ignored for what this
   * side decided (`reason` deadline, cancelled, inbound-cancelled). Not called when this process or its client shuts down.
   * @defaultValue lost connections and passing statuses of the server are resumed; what was decided here (deadline, cancel), final
   * statuses, and errors without a status of gRPC end the stream
   */
  readonly onError?: ((error: unknown, cursor: C) => 'resume' | 'complete' | 'fail' | undefined) | undefined;
  /**
   * A call older than this, in milliseconds, ±10 %, is cancelled and followed by the next, before a proxy cuts it. Use a value
   * above `minHealthyMs`: then the next call begins at once. @defaultValue none
   */
  readonly maxAgeMs?: number | undefined;
}

/**
 * Options of `resumable`. Numbers and bigints compare by themselves. Anything else needs `compare`: ids of 64 bits arrive as
 * strings or as Longs, and `"9" > "10"`. Numbers beyond 2^53, as `longs: Number` gives them, end the stream: they are rounded.
 */
export type ResumeOptions<T, C> = ResumeRules<T, C> &
  ([C] extends [number | bigint]
    ? {
        /** Below 0 where `a` comes before `b`, 0 where they are the same place, above 0 where it comes after. */
        readonly compare?: CompareCursors<C> | undefined;
      }
    : {
        /** Below 0 where `a` comes before `b`, 0 where they are the same place, above 0 where it comes after. */
        readonly compare: CompareCursors<C>;
      });

/**
 * One stream made of several calls: when one breaks off, the next begins from the cursor of the last message handed over.
 *
 * Within one subscription, and provided the server can serve from the cursor, every message is handed over once and in order.
 * What the server gives again at the beginning of a call is dropped by its cursor; a cursor that goes back after that ends the
 * stream with `CursorWentBackError` (DATA_LOSS). Iterated, it has flow control to the server, as long as `factory` returns what
 * the client gave, without a `pipe()`: that belongs behind `resumable`.
 *
 * Lost connections are resumed for as long as they take, at the pace of `backoff`; five failures by the server at one cursor, each
 * soon after its call began, end it with `ResumeError`. Progress, a cursor that advanced, and a call that lasted `minHealthyMs`
 * reset backoff and counters.
 * @param factory Makes the call that begins behind `cursor`; `attempt` is 1 for the first, and counts on. What it throws ends
 * the stream.
 * @throws {GrpcConfigurationError} for options that are none, and for a seed that needs `compare`.
 */
export function resumable<T, C>(
  factory: (cursor: C, attempt: number) => Observable<T>,
  options: ResumeOptions<T, NoInfer<C>> & { readonly seed: C },
): GrpcObservable<T> {
  // True: the two forms of `ResumeOptions` differ in whether `compare` may be left out.
  const given = options as ReadableOptions<T, C>;
  const settings = readOptions((problems) => readSettings(factory, given, problems));
  return streamOf((sink, outer) => new ResumableRun(settings, sink, outer));
}

const REMEDY =
  'compare, where a cursor is neither number nor bigint (64-bit ids arrive as strings or Longs): ' +
  'compare: (a, b) => Number(BigInt(a) - BigInt(b)), or have cursor and seed map it to a BigInt';

type ReadableOptions<T, C> = ResumeRules<T, C> & { readonly compare?: CompareCursors<C> | undefined };

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
