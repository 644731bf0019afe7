import type { Observable, ObservableInput } from 'rxjs';
import type { GrpcObservable } from '../call/grpc-observable.js';
import type { Acknowledgement } from '../policy/replay/replay-ledger.js';
import type { Problems } from '../policy/service-config/problem.js';
import { readInteger, readObject, readPositive } from '../policy/service-config/read.js';
import { streamOf } from './call-sequence.js';
import { readLength, readOptions } from './options.js';
import type { ReplayId } from './replay-id.js';
import { ReplaySession, type ReplaySettings } from './replay-session.js';
import { sourceInput } from './replay-source.js';
import { readResumePace, type ResumePace } from './resume-pace.js';
import type { Seams } from './seams.js';

/** Options of `replayUnacknowledged` but for the bound in bytes. */
export interface ReplayRules<Out, In, Id extends ReplayId> extends ResumePace, Seams {
  /**
   * What `acknowledges` names a message by; of messages that are unacknowledged at once no two may have the same. Ids are equal
   * as in a Map: a number never equals a string, and a Long no other Long (write `String(…)`).
   */
  readonly id: (message: Out) => Id;
  /**
   * The id of the message that a message of the server acknowledges; undefined: none. Ids that are not outstanding, and those
   * acknowledged before, are ignored.
   */
  readonly acknowledges: (message: In) => Id | undefined;
  /**
   * 'single': just the message that it names. 'cumulative': everything up to it, in the order of sending.
   * @defaultValue 'single'
   */
  readonly acknowledgement?: Acknowledgement | undefined;
  /**
   * Messages that may be unacknowledged, 1 or more. When as many are, nothing is taken from `outgoing`; an Observable, which
   * cannot be paused, is held: as many again, at least 1 000, and if it pushes more the session fails with `ReplayError`.
   */
  readonly maxUnacknowledged: number;
  /**
   * First message of each connection (who I am, where I go on), made anew each time. It is not kept, not counted, and has no id.
   * @defaultValue none
   */
  readonly hello?: (() => Out) | undefined;
  /**
   * The call counts as broken, is left and followed by the next, when nothing was acknowledged for so long, in milliseconds,
   * since the first unacknowledged message was sent on it. Not while nothing is unacknowledged, and not while a reader who
   * iterates has enough: then no acknowledgement can arrive. @defaultValue none
   */
  readonly ackTimeoutMs?: number | undefined;
  /**
   * What a call ended with, before the rules decide: its error, or a `ReplayError` where nothing was acknowledged in time or the
   * server ended the call cleanly and left messages unacknowledged. 'resume' still waits its backoff, and five failures of the server
   * without an acknowledgement, each soon after its call began, end the session. 'resume' is ignored for what this side decided
   * (`reason` deadline, cancelled, inbound-cancelled). Not called when this process or its client shuts down.
   * @defaultValue lost connections, passing statuses of the server and those two are resumed; what was decided here (deadline,
   * cancel), final statuses, and errors without a status of gRPC end the session
   */
  readonly onError?: ((error: unknown) => 'resume' | 'complete' | 'fail' | undefined) | undefined;
  /**
   * A call older than this, in milliseconds, ±10 %, is sent nothing more, and is left and followed by the next when what it was
   * sent is acknowledged, a second later at most. Use a value above `minHealthyMs`: then the next call begins at once. @defaultValue none
   */
  readonly maxAgeMs?: number | undefined;
}

/** Options of `replayUnacknowledged`. */
export type ReplayOptions<Out, In, Id extends ReplayId = ReplayId> = ReplayRules<Out, In, Id> &
  (
    | {
        /**
         * Bytes that may be unacknowledged, beside `maxUnacknowledged`. A message that is larger by itself is sent when nothing
         * else is unacknowledged. @defaultValue not counted
         */
        readonly maxUnacknowledgedBytes: number;
        /** How much a message weighs, in bytes: 0 or more. */
        readonly size: (message: Out) => number;
      }
    | { readonly maxUnacknowledgedBytes?: undefined; readonly size?: undefined }
  );

/**
 * One session made of several bidirectional calls. What was sent and is not acknowledged is kept, within bounds, and when a call
 * breaks off the next one is sent it again first, in the old order, and then what is new.
 *
 * Within one subscription every message is sent at least once, and messages arrive for the first time in order, as long as the
 * server reads each call in order. What was not acknowledged may arrive again, also where the server has done what it says, so
 * it must tell repeated ids; it may then answer twice, and every answer is handed over.
 *
 * A call is half-closed when `outgoing` has ended and everything was sent on it. The session completes when, after that, all
 * is acknowledged and the call has ended in order. A call that ends in order before is followed by another, as of a server that
 * drains. An error of `outgoing` ends the session. At a shutdown it takes nothing more from `outgoing`, and completes when
 * what it took is acknowledged.
 *
 * Iterated, it has flow control both ways, as long as `factory` returns what the client gave, without a `pipe()`: that belongs
 * behind `replayUnacknowledged`. A reader who stops reading stops acknowledgements, and with them what is sent.
 *
 * Lost connections are replayed for as long as they take, at the pace of `backoff`; five failures by the server without an
 * acknowledgement, each soon after its call began, end it with `ResumeError`. A call that lasted `minHealthyMs` resets backoff and
 * counters, and so does progress: something was acknowledged, or a message came while nothing was unacknowledged.
 * @param factory Makes one call, to which it gives `outgoing`, the messages of this connection. What it throws ends the session.
 * @throws {GrpcConfigurationError} for options that are none, and for an `outgoing` that is no source of messages.
 */
export function replayUnacknowledged<Out, In, Id extends ReplayId = ReplayId>(
  factory: (outgoing: AsyncIterable<Out>) => Observable<In>,
  outgoing: ObservableInput<Out>,
  options: ReplayOptions<Out, In, Id>,
): GrpcObservable<In> {
  const settings = readOptions((problems) => {
    const given: unknown = options;
    const read = readObject(
      given,
      'replayUnacknowledged',
      problems,
      'an object of options, as { id, acknowledges, maxUnacknowledged }',
    );
    return readSettings(factory, outgoing, read === undefined ? ({} as typeof options) : options, problems);
  });
  return streamOf((sink, outer) => new ReplaySession(settings, sink, outer));
}

function readSettings<Out, In, Id extends ReplayId>(
  factory: ReplaySettings<Out, In, Id>['factory'],
  outgoing: ObservableInput<Out>,
  options: ReplayOptions<Out, In, Id>,
  problems: Problems,
): ReplaySettings<Out, In, Id> {
  const path = 'replayUnacknowledged';
  const { id, acknowledges, acknowledgement = 'single', size, hello, onError } = options;
  const { maxUnacknowledgedBytes, ackTimeoutMs = Infinity, maxAgeMs = Infinity } = options;
  const isWeighed = maxUnacknowledgedBytes !== undefined || size !== undefined;
  const required = { factory, id, acknowledges, ...(isWeighed && { size }) };
  const optional = { hello, onError };
  for (const [key, value] of [...Object.entries(required), ...Object.entries(optional).filter(isGiven)]) {
    if (typeof value !== 'function') problems.add(`${path}.${key}`, 'a function', value);
  }
  if (!KINDS.includes(acknowledgement)) {
    problems.add(`${path}.acknowledgement`, "'single' or 'cumulative'", acknowledgement);
  }
  const messages = readInteger(options.maxUnacknowledged, `${path}.maxUnacknowledged`, problems, 1) ?? 1;
  const bytes = isWeighed
    ? (readPositive(maxUnacknowledgedBytes, `${path}.maxUnacknowledgedBytes`, problems) ?? Infinity)
    : Infinity;
  const input = sourceInput(outgoing);
  if (input === undefined) {
    problems.add(`${path}.outgoing`, 'an AsyncIterable, an Iterable, an Observable or a Promise', outgoing);
  }
  return {
    factory,
    outgoing: input ?? [],
    id,
    acknowledges,
    acknowledgement,
    size,
    hello,
    limits: { messages, bytes },
    ackTimeoutMs: readLength(ackTimeoutMs, `${path}.ackTimeoutMs`, problems),
    maxAgeMs: readLength(maxAgeMs, `${path}.maxAgeMs`, problems),
    pace: readResumePace(options, path, problems),
    onError,
    scheduler: options.scheduler,
    random: options.random,
  };
}

const KINDS: readonly string[] = ['single', 'cumulative'] satisfies Acknowledgement[];

function isGiven([, value]: readonly [string, unknown]): boolean {
  return value !== undefined;
}
