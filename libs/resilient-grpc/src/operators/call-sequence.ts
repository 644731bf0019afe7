import { isObservable, type Observable } from 'rxjs';
import { GrpcObservable } from '../call/grpc-observable.js';
import {
  currentStreamScope,
  inStreamScope,
  type StreamHost,
  type StreamOutcome,
  type StreamScope,
  type StreamDemand,
  type StreamSink,
  type StreamSource,
} from '../call/stream-source.js';
import { ResumeError } from '../errors/stream-errors.js';
import {
  decideResume,
  INITIAL_RESUME_STATE,
  type EndedCall,
  MAX_SERVER_FAILURES,
  type ResumePolicy,
  failureKind,
  type StreamFailure,
  reasonByText,
} from '../policy/resume/decide-resume.js';
import { describeData, describeValue } from '../policy/options/describe-value.js';
import { StatusCode } from '../status/status-code.js';
import type { Clock, Timer } from '../time/clock.js';
import { jitter, systemRandom, type Random } from '../time/random.js';
import { bufferOverflowError, PLAIN_PREFETCH, PlainSource } from './plain-source.js';
import { schedulerClock, type SchedulerOptions } from './scheduler-clock.js';
import { isError } from '../errors/error-message.js';
import { NO_PUSHBACK, parsePushback, PUSHBACK_KEY, type Pushback } from '../policy/pushback/parse-pushback.js';
import { failureReason, statusOf } from './error-status.js';

/** Options shared by all streams that consist of several calls, with defaults applied. */
export interface SequenceSettings extends SchedulerOptions {
  readonly pace: ResumePolicy;
  /** Infinity means no limit. */
  readonly maxAgeMs: number;
}

export interface CallFailed {
  readonly error: unknown;
  /** Failure on which the decision about the next call is based. @defaultValue read from `error` */
  readonly streamFailure?: StreamFailure | undefined;
  /** Time without progress, in milliseconds, after which this side ended the call. @defaultValue 0 */
  readonly silentMs?: number;
}

/** Operator-specific part of a stream: creates the calls and interprets their messages. */
export interface StreamOperator<T> {
  readonly name: string;
  /** True if the current or last call advanced the stream. */
  readonly hasProgressed: boolean;
  /** Creates the call with number `attempt`; 1 is the first. An exception ends the stream. */
  createCall(attempt: number): unknown;
  /** Receives a message from the current call and delivers it if it is new. An exception ends the stream. */
  onMessage(message: T): void;
  /** Called after the current call has ended; `failure` is `undefined` if the server ended it cleanly. */
  onCallEnd(failure: CallFailed | undefined): void;
  /** Returns the user's decision about `error`. An exception ends the stream. */
  onError(error: unknown): EndedCall['requested'];
  /** Describes where the server fails repeatedly, and the remedy. */
  describePoison(): { readonly where: string; readonly remedy: string };
  /** Called when the current call reaches its maximum age. @defaultValue the next call replaces it */
  onMaxAge?(): void;
  /** Called when a shutdown requests the end of the stream. @defaultValue the stream completes immediately */
  onShutdown?(): void;
  onReadingResumed?(): void;
  /** Called when the current call is detached because it ended, it was cancelled, or the stream is over. */
  onDetached?(): void;
  /** Called once, after the stream has ended and before the reader is notified. */
  onOver?(): void;
}

interface Call {
  source: StreamSource | undefined;
}

/**
 * Runs one stream as a sequence of calls, which its operator creates. Between two calls, the sequence waits for the backoff. While the
 * reader is paused, the next call also waits until the reader accepts messages again, because a server or a proxy may end an unread
 * call.
 */
export class CallSequence<T> implements StreamSource, StreamScope {
  // Members of StreamScope.
  resumes = 0;
  deadline = Infinity;
  readonly hosts = new Set<StreamHost>();
  delivered = 0;
  isOver = false;
  // Member of StreamSource: the prefetch of the latest call.
  prefetch = PLAIN_PREFETCH;

  /** True if the reader accepts no further message until `resumeReading`. */
  isPaused = false;
  readonly clock: Clock;

  private readonly operator: StreamOperator<T>;
  private readonly random: Random;
  private state = INITIAL_RESUME_STATE;
  private call: Call | undefined;
  private hasBegun = false;
  /** Start of the current or last call; for a client's call, the start of its last attempt. */
  private beganAt = 0;
  private backoff: Timer | undefined;
  private age: Timer | undefined;
  private outcome: StreamOutcome = 'cancelled';
  private startScope: StreamScope | undefined;
  /** True while a call is being started. The client may still reject the call by ending the whole stream. */
  private isOpening = false;
  /** True if the next call is due and is waiting for the reader. */
  private isDue = false;
  private deliveryDepth = 0;
  private readOnRequested = false;

  constructor(
    private readonly settings: SequenceSettings,
    private readonly sink: StreamSink<T>,
    /** Enclosing stream that runs this stream as one of its calls. */
    readonly outer: StreamScope | undefined,
    operatorOf: (calls: CallSequence<T>) => StreamOperator<T>,
  ) {
    this.clock = schedulerClock(settings.scheduler);
    this.random = settings.random ?? systemRandom;
    this.operator = operatorOf(this);
  }

  get demand(): StreamDemand | undefined {
    return this.sink.demand;
  }

  attemptBegan(): void {
    this.beganAt = this.clock.now();
  }

  begin(): void {
    this.startScope = currentStreamScope();
    this.open();
  }

  resumeReading(): void {
    // During `next`, only a flag is set. The return value of `next` then requests more messages, so that the stack does not grow.
    if (this.deliveryDepth > 0) {
      this.readOnRequested = true;
      return;
    }
    this.isPaused = false;
    if (this.isDue) this.open();
    else this.call?.source?.resumeReading();
    this.operator.onReadingResumed?.();
  }

  unsubscribe(): void {
    this.finish('cancelled');
  }

  complete(): void {
    if (this.isOver) return;
    if (this.operator.onShutdown) this.operator.onShutdown();
    else this.succeed();
  }

  fail(error: unknown): void {
    if (!this.finish('failed')) return;
    this.runInStartScope(() => this.sink.error(error));
  }

  succeed(): void {
    if (!this.finish('succeeded')) return;
    this.runInStartScope(() => this.sink.complete());
  }

  // ── calls ──

  private readonly open = (): void => {
    if (this.isOver) return;
    this.isDue = this.isPaused;
    if (this.isDue) return;
    const call: Call = { source: undefined };
    this.call = call;
    if (this.hasBegun) this.resumes += 1;
    this.hasBegun = true;
    this.beganAt = this.clock.now();
    this.armAge();
    const wasOpening = this.isOpening;
    this.isOpening = true;
    try {
      this.start(call);
    } catch (error) {
      this.fail(error);
    } finally {
      this.isOpening = wasOpening;
    }
    // If the stream ended while the call was starting, the client may have registered as a host only afterward.
    if (this.hasEnded()) this.notifyHosts();
  };

  private start(call: Call): void {
    const stream = this.operator.createCall(this.resumes + 1);
    if (this.hasEnded()) return;
    if (!isObservable(stream)) {
      throw new TypeError(
        `${this.operator.name}: expected the factory to return an Observable, got ${describeValue(stream)}`,
      );
    }
    // The cast follows the factory's type; only `isObservable` can be checked at run time.
    const source = this.sourceOf(stream as Observable<T>, call);
    call.source = source;
    this.prefetch = source.prefetch;
    if (source instanceof PlainSource) {
      inStreamScope(this, () => source.begin());
    } else {
      source.begin();
    }
  }

  private sourceOf(stream: Observable<T>, call: Call): StreamSource {
    const sink: StreamSink<T> = {
      // Late messages from an abandoned call are ignored, because the next call delivers them again.
      next: (message) => {
        if (this.call === call) this.receive(message);
        return this.call === call && !this.isPaused;
      },
      error: (error) => {
        if (this.call !== call) return;
        this.detachCall();
        this.operator.onCallEnd({ error });
      },
      complete: () => {
        if (this.call !== call) return;
        this.detachCall();
        this.operator.onCallEnd(undefined);
      },
      demand: this.demand,
    };
    if (hasFlowControl(stream)) return stream.openStream(sink, this);
    return new PlainSource(stream, sink, () => this.fail(bufferOverflowError()));
  }

  private receive(message: T): void {
    try {
      this.operator.onMessage(message);
    } catch (error) {
      this.fail(error);
    }
  }

  private armAge(): void {
    const { maxAgeMs } = this.settings;
    if (maxAgeMs === Infinity) return;
    this.age = this.clock.setTimer(this.onMaxAge, jitter(maxAgeMs, 0.1, this.random));
  }

  private readonly onMaxAge = (): void => {
    if (this.operator.onMaxAge) {
      this.operator.onMaxAge();
      return;
    }
    this.cancelCall();
    this.resume(undefined, true);
  };

  cancelCall(): void {
    this.detachCall()?.unsubscribe();
  }

  /**
   * Starts the next call after the backoff, or ends the stream, as the policy decides.
   * @param failure `undefined` if the last call did not fail
   * @param aged true if the last call reached its maximum age
   */
  resume(failure: CallFailed | undefined, aged = false): void {
    if (this.isOver) return;
    const { operator } = this;
    const livedMs = this.clock.now() - this.beganAt - (failure?.silentMs ?? 0);
    const progressed = operator.hasProgressed;
    let ended: EndedCall;
    try {
      const streamFailure = failure && (failure.streamFailure ?? readStreamFailure(failure.error));
      const callsOnError = streamFailure !== undefined && failureKind(streamFailure) !== 'client-closing';
      ended = {
        failure: streamFailure,
        aged,
        progressed,
        livedMs,
        requested: callsOnError ? operator.onError(failure?.error) : undefined,
      };
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.hasEnded()) return;
    const decision = decideResume(this.state, ended, this.settings.pace, this.random);
    if (decision.action === 'resume') {
      this.state = decision.state;
      this.resumeAfter(decision.delayMs);
    } else if (decision.action === 'complete') this.succeed();
    else if (decision.because === 'poison') this.fail(this.createPoisonError(failure?.error, ended.failure?.code));
    else this.fail(failure?.error);
  }

  private resumeAfter(delayMs: number): void {
    // Limited to the time until the deadline, so that the next call starts then and reports that the deadline has passed.
    const remainingMs = this.deadline - this.clock.epoch();
    const waitMs = remainingMs > 0 ? Math.min(delayMs, remainingMs) : delayMs;
    // Scheduled even if the delay is 0, because a server that ends each call immediately must not keep this turn of the event loop running.
    this.backoff = this.clock.setTimer(this.open, waitMs);
    for (const host of this.hosts) host.resumesIn(waitMs);
  }

  /** Creates the error for a server that failed repeatedly at one position; `error` is the last failure. */
  private createPoisonError(error: unknown, code: StatusCode | undefined): ResumeError {
    const { where, remedy } = this.operator.describePoison();
    const last = isError(error) ? error.message : describeData(error);
    const message =
      `The server failed ${String(MAX_SERVER_FAILURES)} times ${where}, last with "${last}"; fix the failure on the server, ` +
      `or ${remedy}`;
    return new ResumeError('poison', code ?? StatusCode.UNKNOWN, message, { cause: error });
  }

  // ── messages ──

  /** Delivers a message to the reader. The reader may end the stream before this method returns. */
  deliver(message: T): void {
    this.delivered += 1;
    this.deliveryDepth += 1;
    this.readOnRequested = false;
    const { sink } = this;
    const answer = this.isOpening ? inStreamScope(this.startScope, () => sink.next(message)) : sink.next(message);
    this.deliveryDepth -= 1;
    this.isPaused = answer === false && !this.readOnRequested;
  }

  // ── the end ──

  /** Returns `isOver` without TypeScript's narrowing: user code (`factory`, `onError`, subscribers) may end the stream at any point. */
  hasEnded(): boolean {
    return this.isOver;
  }

  get isRunning(): boolean {
    return this.call !== undefined && !this.isOpening;
  }

  /** Ends the stream and releases its resources. Returns false if it had already ended. */
  private finish(outcome: StreamOutcome): boolean {
    if (this.isOver) return false;
    this.isOver = true;
    this.outcome = outcome;
    this.backoff?.clear();
    this.cancelCall();
    this.notifyHosts();
    this.operator.onOver?.();
    return true;
  }

  /** Detaches the current call, so that its later events are ignored. Returns its source if it has one. */
  private detachCall(): StreamSource | undefined {
    const { call } = this;
    if (call === undefined) return undefined;
    this.age?.clear();
    this.operator.onDetached?.();
    this.call = undefined;
    return call.source;
  }

  private notifyHosts(): void {
    for (const host of this.hosts) {
      this.hosts.delete(host);
      host.ended(this.outcome);
    }
  }

  /**
   * Runs `work` in the scope in which this stream was started, because calls that the reader starts in response to a synchronous event do
   * not belong to this stream.
   */
  private runInStartScope(work: () => void): void {
    if (this.isOpening) inStreamScope(this.startScope, work);
    else work();
  }
}

/** Creates the Observable that users receive. */
export function streamOf<T>(
  settings: SequenceSettings,
  operatorOf: (calls: CallSequence<T>) => StreamOperator<T>,
): GrpcObservable<T> {
  const open = (sink: StreamSink<T>, outer?: StreamScope) => new CallSequence(settings, sink, outer, operatorOf);
  return new GrpcObservable<T>((subscriber) => {
    const calls = open(subscriber, currentStreamScope());
    // Added before `begin`, because a synchronous call may cause the subscriber to unsubscribe before `begin` returns.
    subscriber.add(calls);
    calls.begin();
  }, open);
}

function hasFlowControl<T>(stream: Observable<T>): stream is GrpcObservable<T> {
  return 'openStream' in stream && typeof stream.openStream === 'function';
}

/** Reads the reason, the status code, the pushback, and the retry delay from the error that ended a call of a stream. */
export function readStreamFailure(error: unknown): StreamFailure {
  // The cast is safe: every value is checked before use.
  const properties = (typeof error === 'object' && error !== null ? error : {}) as Readonly<Record<string, unknown>>;
  const code = statusOf(error);
  const { retryAfterMs, details, metadata } = properties;
  const byText = code === undefined ? undefined : reasonByText(code, typeof details === 'string' ? details : '');
  const afterMs = typeof retryAfterMs === 'number' && retryAfterMs >= 0 ? retryAfterMs : undefined;
  return { reason: failureReason(error) ?? byText, code, pushback: pushbackOf(metadata), retryAfterMs: afterMs };
}

function pushbackOf(metadata: unknown): Pushback {
  if (!isReadable(metadata)) return NO_PUSHBACK;
  const values = metadata.get(PUSHBACK_KEY);
  if (!Array.isArray(values) || values.length === 0) return NO_PUSHBACK;
  return parsePushback(values.map(String));
}

function isReadable(metadata: unknown): metadata is { get(key: string): unknown } {
  return typeof metadata === 'object' && metadata !== null && 'get' in metadata && typeof metadata.get === 'function';
}
