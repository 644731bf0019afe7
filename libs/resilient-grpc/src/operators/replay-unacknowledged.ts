import type { Observable, ObservableInput } from 'rxjs';
import type { GrpcObservable } from '../call/grpc-observable.js';
import type { Acknowledgement } from '../policy/replay/replay-ledger.js';
import * as v from 'valibot';
import { requireOptions } from '../policy/options/option-problems.js';
import {
  converted,
  integer,
  millisecondsOrNever,
  oneOf,
  openObject,
  POSITIVE,
  positive,
} from '../policy/options/option-schemas.js';
import { streamOf } from './call-sequence.js';
import type { ReplayId } from './replay-id.js';
import { ReplaySession, type ReplaySettings } from './replay-session.js';
import { sourceInput, type SourceInput } from './replay-source.js';
import { RESUME_PACE_SCHEMAS, type ResumeBackoffOptions } from './resume-pace.js';
import type { SchedulerOptions } from './scheduler-options.js';

/** Options of `replayUnacknowledged` except the limit in bytes. */
export interface BaseReplayOptions<Out, In, Id extends ReplayId> extends ResumeBackoffOptions, SchedulerOptions {
  /**
   * Id by which `acknowledges` identifies a message. Messages that are unacknowledged at the same time must have different ids. Ids are
   * compared like the keys of a Map: a number never equals a string, and a Long never equals another Long (use `String(…)`).
   */
  readonly id: (message: Out) => Id;
  /** Id of the message that a server message acknowledges; `undefined` if none. Unknown ids and repeated acknowledgements are ignored. */
  readonly acknowledges: (message: In) => Id | undefined;
  /**
   * Scope of an acknowledgement: 'single' covers only the identified message, 'cumulative' also all messages sent before it.
   * @defaultValue 'single'
   */
  readonly acknowledgement?: Acknowledgement | undefined;
  /**
   * Maximum number of unacknowledged messages; 1 or more. At the limit, nothing is read from `outgoing`. An Observable cannot be paused, so
   * its messages are buffered: the same number again, at least 1 000. If it pushes more, the session fails with `ReplayError`.
   */
  readonly maxUnacknowledged: number;
  /**
   * First message of each connection (client identity, resume position), created for every connection. It is not kept or counted, and has
   * no id.
   * @defaultValue none
   */
  readonly hello?: (() => Out) | undefined;
  /**
   * Maximum time in milliseconds without an acknowledgement, counted from the first unacknowledged message sent on a call. The call then
   * counts as broken and is replaced by the next one. The timeout does not run while nothing is unacknowledged, or while the buffer of a
   * reader that iterates is full, because no acknowledgement can arrive then. @defaultValue none
   */
  readonly ackTimeoutMs?: number | undefined;
  /**
   * Decides what follows the end of a call, before the default rules apply. `error` is the error of the call, or a `ReplayError` if nothing
   * was acknowledged in time or the server ended the call cleanly and left messages unacknowledged. 'resume' still waits for the backoff,
   * and five server failures without an acknowledgement, each soon after its call started, end the session. 'resume' is ignored for
   * failures decided by the client (`reason` deadline, cancelled, inbound-cancelled). Not called if this process or its client shuts down.
   * @defaultValue lost connections, transient server statuses, and both kinds of `ReplayError` are resumed; client decisions (deadline,
   * cancel), final statuses, and errors without a gRPC status end the session
   */
  readonly onError?: ((error: unknown) => 'resume' | 'complete' | 'fail' | undefined) | undefined;
  /**
   * Maximum age of a call in milliseconds, ±10 %. Nothing more is sent on the call, and the next one replaces it once its messages are
   * acknowledged, at most one second later. Use a value above `minHealthyMs`, so that the next call starts immediately.
   * @defaultValue none
   */
  readonly maxAgeMs?: number | undefined;
}

/** Options of `replayUnacknowledged`. */
export type ReplayOptions<Out, In, Id extends ReplayId = ReplayId> = BaseReplayOptions<Out, In, Id> &
  (
    | {
        /**
         * Maximum number of unacknowledged bytes, in addition to `maxUnacknowledged`. A larger message is sent when nothing else is
         * unacknowledged. @defaultValue not counted
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
 * Within one subscription every message is sent at least once, and messages arrive for the first time in order, provided that the server
 * reads each call in order. An unacknowledged message may arrive again even if the server has already processed it, so the server must
 * detect duplicates. If it responds twice, both responses are delivered.
 *
 * A call is half-closed when `outgoing` has ended and everything was sent on it. The session completes once everything is acknowledged and
 * the call has ended cleanly. If a call ends cleanly before that, for example because the server drains, another call follows. An error of
 * `outgoing` ends the session. At shutdown, the session reads nothing more from `outgoing` and completes once the messages already read are
 * acknowledged.
 *
 * Iteration applies flow control in both directions only if `factory` returns the client's call without a `pipe()`; apply operators after
 * `replayUnacknowledged`. A reader that stops reading stops acknowledgements, and therefore sending.
 *
 * Lost connections are replayed for as long as they last, at the pace of `backoff`. Five server failures without an acknowledgement, each
 * soon after its call started, end the session with `ResumeError`. A call that lasted `minHealthyMs` resets backoff and counters. So does
 * progress: an acknowledgement, or a message received while nothing was unacknowledged.
 * @param factory Creates one call; `outgoing` provides the messages of this connection. An exception from it ends the session.
 * @throws {GrpcConfigurationError} if the options are invalid, or `outgoing` is not a source of messages.
 */
export function replayUnacknowledged<Out, In, Id extends ReplayId = ReplayId>(
  factory: (outgoing: AsyncIterable<Out>) => Observable<In>,
  outgoing: ObservableInput<Out>,
  options: ReplayOptions<Out, In, Id>,
): GrpcObservable<In> {
  const settings = readSettings(factory, outgoing, options);
  return streamOf((sink, outer) => new ReplaySession(settings, sink, outer));
}

const callback = v.function('a function');
const countedEntries = {
  factory: callback,
  id: callback,
  acknowledges: callback,
  hello: v.optional(callback),
  onError: v.optional(callback),
  acknowledgement: v.optional(oneOf<Acknowledgement>('single', 'cumulative'), 'single'),
  maxUnacknowledged: integer(1),
  // The cast is safe: any value may be passed to `sourceInput`, which checks it.
  outgoing: converted('an AsyncIterable, an Iterable, an Observable, or a Promise', (source) =>
    sourceInput(source as ObservableInput<unknown>),
  ),
  ackTimeoutMs: v.optional(millisecondsOrNever(POSITIVE), Infinity),
  maxAgeMs: v.optional(millisecondsOrNever(POSITIVE), Infinity),
  ...RESUME_PACE_SCHEMAS,
};
const EXPECTED = 'an options object, such as { id, acknowledges, maxUnacknowledged }';
const countedSchema = openObject(countedEntries, EXPECTED);
/** If one of `size` and `maxUnacknowledgedBytes` is given, both are required. */
const weighedSchema = openObject({ ...countedEntries, size: callback, maxUnacknowledgedBytes: positive }, EXPECTED);

function readSettings<Out, In, Id extends ReplayId>(
  factory: ReplaySettings<Out, In, Id>['factory'],
  outgoing: ObservableInput<Out>,
  options: ReplayOptions<Out, In, Id>,
): ReplaySettings<Out, In, Id> {
  const given: unknown = options;
  const isObject = typeof given === 'object' && given !== null;
  const isWeighed = isObject && ['size', 'maxUnacknowledgedBytes'].some((key) => Reflect.get(given, key) !== undefined);
  const schema = isWeighed ? weighedSchema : countedSchema;
  const parsed = requireOptions(schema, isObject ? { ...given, factory, outgoing } : given, 'replayUnacknowledged');
  const { id, acknowledges, size, hello, onError, maxUnacknowledgedBytes = Infinity, scheduler, random } = options;
  return {
    factory,
    // The cast is safe: the messages are those of `outgoing`.
    outgoing: parsed.outgoing as SourceInput<Out>,
    id,
    acknowledges,
    acknowledgement: parsed.acknowledgement,
    size,
    hello,
    limits: { messages: parsed.maxUnacknowledged, bytes: maxUnacknowledgedBytes },
    ackTimeoutMs: parsed.ackTimeoutMs,
    maxAgeMs: parsed.maxAgeMs,
    pace: { ...parsed.backoff, minHealthyMs: parsed.minHealthyMs },
    onError,
    scheduler,
    random,
  };
}
