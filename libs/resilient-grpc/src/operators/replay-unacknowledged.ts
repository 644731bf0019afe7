import type { Observable, ObservableInput } from 'rxjs';
import * as v from 'valibot';
import type { GrpcObservable } from '../call/grpc-observable.js';
import type { Acknowledgment } from '../policy/replay/replay-ledger.js';
import { defined } from '../policy/options/describe-value.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { integer, millisecondsOrNever, object, positive, rulesOf } from '../policy/options/option-schemas.js';
import { streamOf } from './call-sequence.js';
import type { ReplayId } from './replay-outgoing.js';
import { ReplaySession, type ReplaySettings } from './replay-session.js';
import { toSourceInput } from './replay-source.js';
import { completeResumePace, sessionEntries, type ResumeBackoffOptions } from './resume-pace.js';
import type { SchedulerOptions } from './scheduler-clock.js';

/** Default of `maxUnacknowledged`. */
const DEFAULT_MAX_UNACKNOWLEDGED = 1_000;

/** Options of `replayUnacknowledged` except the limit in bytes. */
export interface BaseReplayOptions<Out, In, Id extends ReplayId> extends ResumeBackoffOptions, SchedulerOptions {
  /**
   * Id by which `acknowledges` identifies a message. Messages that are unacknowledged at the same time must have different ids. Ids are
   * compared like the keys of a Map: a number never equals a string. An id that is an object, such as a Long, ends the session; convert it
   * with `String(…)`.
   */
  readonly id: (message: Out) => Id;
  /**
   * Id of the message that a server message acknowledges; `undefined` if it acknowledges none. Unknown ids and repeated acknowledgments
   * are ignored. An id ends the session if no message id has its type.
   */
  readonly acknowledges: (message: In) => Id | undefined;
  /**
   * Scope of an acknowledgment: 'single' covers only the identified message; 'cumulative' also covers all messages sent before it.
   * @defaultValue 'single'
   */
  readonly acknowledgment?: Acknowledgment | undefined;
  /**
   * Maximum number of unacknowledged messages; 1 or more. At the limit, nothing is read from `outgoing`. An Observable cannot be paused, so
   * its messages are buffered, up to the same number again or 1,000, whichever is greater. If it pushes more, the session fails with
   * `ReplayError`.
   * @defaultValue 1000
   */
  readonly maxUnacknowledged?: number | undefined;
  /**
   * Creates the first message of each call, such as one with the client's identity. That message is not kept or counted, and has no id.
   * @defaultValue none
   */
  readonly hello?: (() => Out) | undefined;
  /**
   * Maximum time in milliseconds, above 0, without an acknowledgment, counted from the first unacknowledged message sent on a call. Each
   * acknowledgment restarts the timeout. After the timeout, the call counts as broken, and the next one replaces it. The timeout does not
   * run while all messages are acknowledged, or while an iterating reader's buffer is full, because no acknowledgment can arrive then.
   * @defaultValue none
   */
  readonly acknowledgmentTimeoutMs?: number | undefined;
  /**
   * Decides the next step after a failed call, before the default rules apply. `error` is the error of the call. It is a `ReplayError` if
   * nothing was acknowledged in time, or if the server ended the call cleanly before it acknowledged all messages of that call. After
   * 'resume', the next call still waits for the backoff. Five server failures without progress, each soon after its call started, still end
   * the session, as does `backoff.maxAttempts`. 'resume' is ignored after a deadline or a cancellation (`reason` deadline, cancelled,
   * inbound-cancelled). Not called if this process or the client is shutting down.
   * @defaultValue resumes after lost connections, timeouts of one call, rejections by a limit or a circuit breaker, transient server
   * statuses without a pushback that forbids retries, and the two `ReplayError`s above. Ends the session after all other failures, such as
   * a deadline, a cancellation, a final status, an invalid response, or an error without a gRPC status
   */
  readonly onError?: ((error: unknown) => 'resume' | 'complete' | 'fail' | undefined) | undefined;
  /**
   * Maximum age of a call in milliseconds, above 0, with ±10% jitter. After that, nothing more is sent on the call. The next call replaces
   * it once all messages sent on it are acknowledged, or after one second. Use at least 1.2 times `minHealthyMs`, because of the jitter,
   * so that the next call starts immediately.
   * @defaultValue none
   */
  readonly maxAgeMs?: number | undefined;
}

/** Options of `replayUnacknowledged`. */
export type ReplayOptions<Out, In, Id extends ReplayId = ReplayId> = BaseReplayOptions<Out, In, Id> &
  (
    | {
        /**
         * Maximum number of unacknowledged bytes, in addition to `maxUnacknowledged`; above 0. A larger message is sent only when nothing
         * else is unacknowledged. The messages of an Observable are buffered, up to the same number of bytes again or 1 MiB, whichever is
         * greater.
         * @defaultValue not counted
         */
        readonly maxUnacknowledgedBytes: number;
        /** Size of a message in bytes; 0 or more. */
        readonly size: (message: Out) => number;
      }
    | { readonly maxUnacknowledgedBytes?: undefined; readonly size?: undefined }
  );

/**
 * Combines several bidirectional calls into one session. Unacknowledged messages are kept, within limits. If a call fails mid-stream, the
 * next one resends them first, in the original order, and then sends new messages.
 *
 * Within one subscription, every message is sent at least once. On first arrival, messages are in order, provided that the server reads
 * each call in order. An unacknowledged message may arrive again even if the server has already processed it, so the server must detect
 * duplicates. If it responds twice, both responses are delivered.
 *
 * A call is half-closed when `outgoing` has ended and every unacknowledged message has been sent on the call. The session completes once
 * everything is acknowledged and the call has ended cleanly. If a call ends cleanly before that, for example because the server is
 * draining, another call follows. An error from `outgoing` ends the session. At shutdown, the session reads nothing more from `outgoing`
 * and completes once the messages already read are acknowledged, including those that an Observable has pushed. If its call ends before
 * that, the session fails.
 *
 * Iteration applies flow control in both directions only if `factory` returns the client's call without a `pipe()`; apply operators after
 * `replayUnacknowledged`. If the reader stops reading, no acknowledgments arrive, so the session stops sending at its limits.
 *
 * By default, the session retries after a lost connection until it succeeds, at the pace of `backoff`. Five server failures without
 * progress, each soon after its call started, end the session with `ResumeError`; UNAVAILABLE does not count. A call that lasted
 * `minHealthyMs` resets backoff and counters. Progress resets them, too: an acknowledgment, or a message received while all messages were
 * acknowledged.
 * @param factory Creates one call; `outgoing` provides the messages of that call. If `factory` throws, the session ends.
 * @throws {GrpcConfigurationError} if the options are invalid, or `outgoing` is not a source of messages.
 */
export function replayUnacknowledged<Out, In, Id extends ReplayId = ReplayId>(
  factory: (outgoing: AsyncIterable<Out>) => Observable<In>,
  outgoing: ObservableInput<Out>,
  options: ReplayOptions<Out, In, Id>,
): GrpcObservable<In> {
  const settings = readSettings(factory, outgoing, options);
  return streamOf(settings, (calls) => new ReplaySession(settings, calls));
}

const schema = v.pipe(
  object({
    ...sessionEntries,
    factory: v.function(),
    outgoing: v.custom<object>(
      (input) => input !== undefined,
      'an AsyncIterable, an Iterable, an Observable, or a Promise',
    ),
    id: v.function(),
    acknowledges: v.function(),
    acknowledgment: v.optional(v.picklist(['single', 'cumulative'])),
    maxUnacknowledged: v.optional(integer(1)),
    maxUnacknowledgedBytes: v.optional(positive),
    size: v.optional(v.function()),
    hello: v.optional(v.function()),
    acknowledgmentTimeoutMs: v.optional(millisecondsOrNever),
  }),
  rulesOf((value) => {
    const missing = ['maxUnacknowledgedBytes', 'size'].filter((key) => !(key in value));
    return missing.length === 1 ? { [String(missing)]: 'expected maxUnacknowledgedBytes together with size' } : {};
  }),
);

function readSettings<Out, In, Id extends ReplayId>(
  factory: ReplaySettings<Out, In, Id>['factory'],
  outgoing: ObservableInput<Out>,
  options: ReplayOptions<Out, In, Id>,
): ReplaySettings<Out, In, Id> {
  const input = toSourceInput(outgoing);
  requireOptions(schema, defined({ ...options, factory, outgoing: input }), 'replayUnacknowledged');
  const { id, acknowledges, acknowledgment = 'single', size, hello, onError } = options;
  const { maxUnacknowledged = DEFAULT_MAX_UNACKNOWLEDGED, maxUnacknowledgedBytes = Infinity } = options;
  const { acknowledgmentTimeoutMs = Infinity, maxAgeMs = Infinity } = options;
  return {
    factory,
    outgoing: input ?? [],
    id,
    acknowledges,
    acknowledgment,
    size,
    hello,
    limits: { messages: maxUnacknowledged, bytes: maxUnacknowledgedBytes },
    acknowledgmentTimeoutMs,
    maxAgeMs,
    pace: completeResumePace(options),
    onError,
    scheduler: options.scheduler,
    random: options.random,
  };
}
