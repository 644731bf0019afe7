import type { Observable, ObservableInput } from 'rxjs';
import * as v from 'valibot';
import type { GrpcObservable } from '../call/grpc-observable.js';
import type { Acknowledgment } from '../policy/replay/replay-ledger.js';
import { defined, describeData } from '../policy/options/describe-value.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { integer, millisecondsOrNever, object, positive, rulesOf } from '../policy/options/option-schemas.js';
import {
  streamOf,
  type CallFailed,
  type CallSequence,
  type SequenceSettings,
  type StreamOperator,
} from './call-sequence.js';
import {
  type ReplayId,
  messageCount,
  ReplayOutgoing,
  type OutgoingCallbacks,
  type OutgoingRules,
  toSourceInput,
  type SourceInput,
} from './replay-outgoing.js';
import { sessionEntries, type ResumeBackoffOptions } from './retry-backoff.js';
import type { SchedulerOptions } from './scheduler-clock.js';
import { ReplayError, type ReplayFailureReason } from '../errors/stream-errors.js';
import { NO_PUSHBACK } from '../policy/pushback/parse-pushback.js';
import type { EndedCall } from '../policy/resume/decide-resume.js';
import { StatusCode } from '../status/status-code.js';
import type { Timer } from '../time/clock.js';
import { PeerTimer } from '../time/peer-timer.js';

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
   * are ignored.
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
    maxUnacknowledged: v.optional(integer(1), DEFAULT_MAX_UNACKNOWLEDGED),
    maxUnacknowledgedBytes: v.optional(positive),
    size: v.optional(v.function()),
    hello: v.optional(v.function()),
    acknowledgmentTimeoutMs: v.optional(millisecondsOrNever, Infinity),
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
  const given = defined({ ...options, factory, outgoing: input });
  const parsed = requireOptions(schema, given, 'replayUnacknowledged');
  const { backoff, minHealthyMs, maxAgeMs, acknowledgmentTimeoutMs, maxUnacknowledged } = parsed;
  return {
    ...options,
    factory,
    outgoing: input ?? [],
    limits: { messages: maxUnacknowledged, bytes: options.maxUnacknowledgedBytes ?? Infinity },
    acknowledgmentTimeoutMs,
    maxAgeMs,
    pace: { ...backoff, minHealthyMs },
  };
}

/** Options of `replayUnacknowledged` with defaults applied. */
export interface ReplaySettings<Out, In, Id extends ReplayId>
  extends SequenceSettings, OutgoingRules<Out, Id>, Pick<BaseReplayOptions<Out, In, Id>, 'acknowledges' | 'onError'> {
  readonly factory: (outgoing: AsyncIterable<Out>) => Observable<In>;
  readonly outgoing: SourceInput<Out>;
  /** Infinity means no timeout. */
  readonly acknowledgmentTimeoutMs: number;
}

// Maximum wait for outstanding acknowledgments after a call has reached `maxAgeMs`.
const MAX_RETIREMENT_MS = 1_000;

/**
 * Runs one session over several consecutive calls. `ReplayOutgoing` sends; this class receives messages and acknowledgments and detects
 * broken calls.
 */
class ReplaySession<Out, In, Id extends ReplayId> implements StreamOperator<In>, OutgoingCallbacks {
  readonly name = 'replayUnacknowledged';
  hasProgressed = false;

  private readonly outgoing: ReplayOutgoing<Out, Id>;
  private hasReceived = false;
  /** Number of messages that were sent on the last call and not acknowledged. */
  private awaited = 0;
  /** True if the server ended the last call cleanly. */
  private wasEnded = false;
  /** True once a shutdown has started; no further call is started. */
  private isShuttingDown = false;
  private lastError: unknown;
  /** True if the current call has reached `maxAgeMs`; nothing more is sent on it. */
  private isRetiring = false;
  private retirement: Timer | undefined;
  /** Timeout after which the current call counts as broken. */
  private ackTimer: PeerTimer | undefined;

  constructor(
    private readonly settings: ReplaySettings<Out, In, Id>,
    private readonly calls: CallSequence<In>,
  ) {
    this.outgoing = new ReplayOutgoing(settings.outgoing, settings, this);
  }

  // ── outgoing callbacks ──

  onSent(): void {
    if (this.ackTimer === undefined) this.awaitAcknowledgment();
  }

  onSourceEnd(): void {
    if (!this.calls.isRunning && this.wasEnded && this.outgoing.isSettled) this.calls.succeed();
  }

  onOutgoingError(error: unknown): void {
    this.calls.fail(error);
  }

  // ── calls ──

  createCall(attempt: number): Observable<In> | undefined {
    if (attempt === 1) this.outgoing.open();
    // An Observable source may already have failed.
    if (this.calls.isOver) return undefined;
    this.hasProgressed = false;
    this.hasReceived = false;
    this.wasEnded = false;
    this.isRetiring = false;
    return this.settings.factory(this.outgoing.startCall());
  }

  onMessage(message: In): void {
    const { outgoing, calls } = this;
    const wasIdle = outgoing.unacknowledged === 0;
    const id = this.settings.acknowledges(message);
    // Delivered first, so that nothing more is read from the source if the reader unsubscribes here.
    calls.deliver(message);
    const count = id === undefined || calls.hasEnded() ? 0 : outgoing.acknowledge(id);
    // `acknowledge` also sends queued messages; an error while sending ends the session.
    if (calls.hasEnded()) return;
    this.hasReceived = true;
    if (count > 0 || wasIdle) this.hasProgressed = true;
    if (count > 0 || calls.isPaused) this.awaitAcknowledgment();
    if (count > 0) this.afterAcknowledgment();
  }

  onCallEnd(failure: CallFailed | undefined): void {
    const { outgoing, calls } = this;
    if (failure !== undefined) {
      this.resumeOrEnd(failure);
      return;
    }
    if (this.awaited > 0) {
      const message = `The server ended the call cleanly, but did not acknowledge ${messageCount(this.awaited)} sent to it`;
      this.resumeOrEnd({ error: this.errorOf('unacknowledged', message) });
      return;
    }
    this.wasEnded = true;
    // Detects the end of the source. Otherwise, a server that ends the call with the last acknowledgment would receive another call.
    if (!outgoing.isSettled) outgoing.lookAhead();
    if (calls.isOver) return;
    if (outgoing.isSettled) calls.succeed();
    else this.resumeOrEnd(undefined);
  }

  private resumeOrEnd(failure: CallFailed | undefined, aged = false): void {
    const { calls, outgoing } = this;
    this.lastError = failure?.error;
    if (!this.isShuttingDown) {
      calls.resume(failure, aged);
      return;
    }
    if (outgoing.isSettled) {
      calls.succeed();
      return;
    }
    const { unacknowledged, queued } = outgoing;
    const unsent = queued === 0 ? '' : `, ${messageCount(queued)} queued`;
    const message = `The session ended with ${messageCount(unacknowledged)} unacknowledged${unsent}`;
    calls.fail(failure?.error ?? this.errorOf('unacknowledged', message));
  }

  /** Cancels the current call and starts the next one; `failure` is `undefined` if the call reached its maximum age. */
  private replaceCall(failure: CallFailed | undefined): void {
    this.calls.cancelCall();
    if (!this.calls.isOver) this.resumeOrEnd(failure, failure === undefined);
  }

  onMaxAge(): void {
    // During a shutdown, no call would replace this one.
    if (this.isShuttingDown) return;
    this.isRetiring = true;
    this.outgoing.retire();
    this.retirement = this.calls.clock.setTimer(() => this.replaceCall(undefined), MAX_RETIREMENT_MS);
    this.afterAcknowledgment();
  }

  /** Stops reading from the source, and completes once all messages already read are acknowledged. */
  onShutdown(): void {
    this.isShuttingDown = true;
    // A shutdown starts no further call, so a retiring call may wait longer for its acknowledgments.
    this.retirement?.clear();
    this.outgoing.finish();
    if (this.calls.isRunning) this.afterAcknowledgment();
    else this.resumeOrEnd(this.lastError === undefined ? undefined : { error: this.lastError });
  }

  onReadingResumed(): void {
    if (this.ackTimer === undefined) this.awaitAcknowledgment();
  }

  onDetached(): void {
    this.ackTimer?.clear();
    this.ackTimer = undefined;
    this.retirement?.clear();
    this.awaited = this.outgoing.awaited;
    this.outgoing.endCall();
  }

  onOver(): void {
    this.outgoing.close();
  }

  // ── acknowledgments ──

  /**
   * Restarts the timeout if a sent message awaits its acknowledgment. Does not start the timeout while the reader's buffer is full,
   * because no acknowledgment can arrive then.
   */
  private awaitAcknowledgment(): void {
    const { acknowledgmentTimeoutMs } = this.settings;
    this.ackTimer?.clear();
    this.ackTimer = undefined;
    if (acknowledgmentTimeoutMs === Infinity || this.calls.isPaused || this.outgoing.awaited === 0) return;
    this.ackTimer = new PeerTimer(this.calls.clock, acknowledgmentTimeoutMs, this.onAckTimeout);
  }

  private readonly onAckTimeout = (): void => {
    const { acknowledgmentTimeoutMs } = this.settings;
    const message = `No acknowledgment within ${String(acknowledgmentTimeoutMs)} ms; ${messageCount(this.outgoing.awaited)} sent and not acknowledged`;
    const error = this.errorOf('acknowledgment-timeout', message);
    // A server that sent a message is reachable but stuck. If no message arrived, the connection may be broken.
    const reason = this.hasReceived ? 'server' : 'connection-lost';
    this.replaceCall({
      error,
      streamFailure: { reason, code: StatusCode.DEADLINE_EXCEEDED, pushback: NO_PUSHBACK, retryAfterMs: undefined },
      // Subtracts the timeout from the duration of the call. With a long timeout, a call that was stuck from the start would otherwise
      // count as healthy.
      silentMs: acknowledgmentTimeoutMs,
    });
  };

  private afterAcknowledgment(): void {
    if (this.isShuttingDown && this.outgoing.isSettled) this.calls.succeed();
    else if (this.isRetiring && this.outgoing.awaited === 0) this.replaceCall(undefined);
  }

  // ── errors ──

  onError(error: unknown): EndedCall['requested'] {
    return this.settings.onError?.(error);
  }

  describePoison() {
    const { unacknowledged, oldest } = this.outgoing;
    const pending = `${messageCount(unacknowledged)} unacknowledged, the first with id ${describeData(oldest)}`;
    return {
      where: `without an acknowledgment${unacknowledged === 0 ? '' : ` (${pending})`}`,
      remedy: 'omit the message that causes the failures',
    };
  }

  private errorOf(reason: ReplayFailureReason, message: string): ReplayError {
    return new ReplayError(reason, message, this.outgoing.unacknowledged);
  }
}
