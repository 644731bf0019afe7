import { asyncScheduler, isObservable, type Observable, type SchedulerLike, type Subscription } from 'rxjs';
import { GrpcObservable } from '../call/grpc-observable.js';
import {
  currentStreamScope,
  inStreamScope,
  type StreamHost,
  type StreamOutcome,
  type StreamScope,
} from '../call/stream-scope.js';
import type { StreamDemand } from '../call/stream-demand.js';
import type { StreamFactory, StreamSink, StreamSource } from '../call/stream-source.js';
import { decideResume, INITIAL_RESUME_STATE, type EndedCall } from '../policy/resume/decide-resume.js';
import type { ResumePolicy } from '../policy/resume/resume-policy.js';
import { failureKind, type StreamFailure } from '../policy/resume/stream-failure.js';
import { describeValue } from '../policy/options/describe-value.js';
import type { StatusCode } from '../status/status-code.js';
import { systemClock } from '../time/clock.js';
import { jitter, systemRandom, type Random } from '../time/random.js';
import { PLAIN_PREFETCH, PlainSource } from './plain-source.js';
import { readStreamFailure } from './read-stream-failure.js';
import { tooMuchHeld } from './resume-failures.js';
import { timerMs } from './scheduler-options.js';

/** Options shared by all streams of several calls, with defaults applied. */
export interface SequenceSettings {
  readonly pace: ResumePolicy;
  /** Infinity means no limit. */
  readonly maxAgeMs: number;
  readonly scheduler: SchedulerLike | undefined;
  readonly random: Random | undefined;
}

/** Failure with which a call ended. */
export interface CallFailed {
  readonly error: unknown;
  /** Failure on which the decision about the next call is based; @defaultValue read from `error` */
  readonly says?: StreamFailure | undefined;
  /** Milliseconds of silence after which this side ended the call. @defaultValue 0 */
  readonly silentMs?: number;
}

/** One call of the stream, distinguished from earlier calls by identity. */
interface Call {
  source: StreamSource | undefined;
}

/**
 * Runs one stream as a sequence of calls. The subclass creates each call and receives its messages. Between two calls it waits for the
 * backoff. If the stream is pulled, it also waits until the reader requests a message, because an unread call would only be disconnected
 * again.
 */
export abstract class CallSequence<T> implements StreamSource, StreamScope {
  // As StreamScope
  resumes = 0;
  deadline = Infinity;
  readonly hosts = new Set<StreamHost>();
  delivered = 0;
  isOver = false;
  // As StreamSource: the prefetch of the latest call.
  prefetch = PLAIN_PREFETCH;

  protected readonly scheduler: SchedulerLike;
  protected hasEnough = false;

  private readonly random: Random;
  private state = INITIAL_RESUME_STATE;
  private call: Call | undefined;
  private hasBegun = false;
  /** Start of the current or last call; for a client's call, the start of its last attempt. */
  private beganAt = 0;
  /** Timer that starts the next call. */
  private backoff: Subscription | undefined;
  /** Timer that ends the current call at its maximum age. */
  private age: Subscription | undefined;
  private outcome: StreamOutcome = 'cancelled';
  /** Stream scope in which this stream was started. */
  private around: StreamScope | undefined;
  /** True while a call is being started: its client may still reject it by ending the whole stream. */
  protected isOpening = false;
  /** True if the next call is due and waits for the reader. */
  private isDue = false;
  private handingOver = 0;
  private readOnAsked = false;

  constructor(
    private readonly shared: SequenceSettings,
    private readonly sink: StreamSink<T>,
    /** Stream of which this one is a call. */
    readonly outer: StreamScope | undefined,
  ) {
    this.scheduler = shared.scheduler ?? asyncScheduler;
    this.random = shared.random ?? systemRandom;
  }

  /** Operator name, used in errors. */
  protected abstract readonly operator: string;
  /** Creates the next call. */
  protected abstract make(): unknown;
  /** Receives a message of the current call; the call may end meanwhile. */
  protected abstract take(message: T): void;
  /** Called after the server has ended the current call cleanly. */
  protected abstract endedInOrder(): void;
  /** True if the current or last call advanced the stream. */
  protected abstract get hasProgressed(): boolean;
  /** The user's decision about `error`. */
  protected abstract ask(error: unknown): EndedCall['asked'];
  /** Error for a server that fails repeatedly at one position; `error` is the last failure. */
  protected abstract poisoned(error: unknown, code: StatusCode | undefined): Error;

  get demand(): StreamDemand | undefined {
    return this.sink.demand;
  }

  attemptBegan(): void {
    this.beganAt = this.now();
  }

  begin(): void {
    this.around = currentStreamScope();
    this.open();
  }

  readOn(): void {
    // Inside `next`, the return value of `next` requests more, so that the stack does not grow.
    if (this.handingOver > 0) {
      this.readOnAsked = true;
      return;
    }
    this.hasEnough = false;
    if (this.isDue) this.open();
    else this.call?.source?.readOn();
  }

  unsubscribe(): void {
    this.finish('cancelled');
  }

  complete(): void {
    this.succeed();
  }

  fail(error: unknown): void {
    if (!this.finish('failed')) return;
    this.outside(() => {
      this.sink.error(error);
    });
  }

  protected succeed(): void {
    if (!this.finish('succeeded')) return;
    this.outside(() => {
      this.sink.complete();
    });
  }

  // ── calls ──

  private readonly open = (): void => {
    if (this.isOver) return;
    this.isDue = this.hasEnough;
    if (this.isDue) return;
    const call: Call = { source: undefined };
    this.call = call;
    if (this.hasBegun) this.resumes += 1;
    this.hasBegun = true;
    this.beganAt = this.now();
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
    // If the stream ended while the call was starting, the client may have registered as a host only afterwards.
    if (this.over()) this.notifyHosts();
  };

  private start(call: Call): void {
    const stream = this.make();
    if (!isObservable(stream)) {
      throw new TypeError(
        `${this.operator}: expected the factory to return an Observable, got ${describeValue(stream)}`,
      );
    }
    if (this.over()) return;
    // The cast follows the factory's type; only `isObservable` can be checked at run time.
    const source = this.sourceOf(stream as Observable<T>, call);
    call.source = source;
    this.prefetch = source.prefetch;
    if (source instanceof PlainSource) {
      inStreamScope(this, () => {
        source.begin();
      });
    } else {
      source.begin();
    }
  }

  private sourceOf(stream: Observable<T>, call: Call): StreamSource {
    const sink: StreamSink<T> = {
      // Late messages of an abandoned call are ignored: the next call delivers them again.
      next: (message) => {
        if (this.call === call) this.take(message);
        return this.call === call && !this.hasEnough;
      },
      error: (error) => {
        if (this.call !== call) return;
        this.leaveCall();
        this.startNextCall({ error });
      },
      complete: () => {
        if (this.call !== call) return;
        this.leaveCall();
        this.endedInOrder();
      },
      demand: this.demand,
    };
    if (hasFlowControl(stream)) return stream.openStream(sink, this);
    return new PlainSource(stream, sink, () => {
      this.fail(tooMuchHeld());
    });
  }

  private armAge(): void {
    const { maxAgeMs } = this.shared;
    if (maxAgeMs === Infinity) return;
    const tooOld = (): void => this.tooOld();
    this.age = this.scheduler.schedule(tooOld, timerMs(jitter(maxAgeMs, 0.1, this.random)));
  }

  /** Called when the current call reaches `maxAgeMs`. */
  protected tooOld(): void {
    this.replaceCall(undefined);
  }

  /** Cancels the current call, also on the wire, and resumes; `undefined` if the call reached its maximum age. */
  protected replaceCall(failure: CallFailed | undefined): void {
    const source = this.leaveCall();
    source?.unsubscribe();
    if (!this.over()) this.startNextCall(failure, failure === undefined);
  }

  /** Resumes after a call that ended or reached its maximum age; `undefined` if it did not fail. */
  protected startNextCall(failure: CallFailed | undefined, aged = false): void {
    const livedMs = this.now() - this.beganAt - (failure?.silentMs ?? 0);
    const { hasProgressed: progressed } = this;
    let ended: EndedCall;
    try {
      const says = failure && (failure.says ?? readStreamFailure(failure.error));
      const isAsked = says !== undefined && failureKind(says) !== 'shut';
      ended = { failure: says, aged, progressed, livedMs, asked: isAsked ? this.ask(failure?.error) : undefined };
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.over()) return;
    const decision = decideResume(this.state, ended, this.shared.pace, this.random);
    if (decision.action === 'resume') {
      this.state = decision.state;
      this.resumeAfter(decision.delayMs);
    } else if (decision.action === 'complete') this.succeed();
    else if (decision.because === 'poison') this.fail(this.poisoned(failure?.error, ended.failure?.code));
    else this.fail(failure?.error);
  }

  private resumeAfter(delayMs: number): void {
    // Limited to the remaining deadline: the call that starts then reports that the deadline has passed.
    const leftMs = this.deadline - this.scheduler.now();
    const waitMs = leftMs > 0 ? Math.min(delayMs, leftMs) : delayMs;
    // Scheduled even without a delay: a server that ends each call immediately must not keep this turn of the event loop running.
    this.backoff = this.scheduler.schedule(this.open, timerMs(waitMs));
  }

  // ── messages ──

  protected handOver(message: T): void {
    this.delivered += 1;
    this.handingOver += 1;
    this.readOnAsked = false;
    const { sink } = this;
    const answer = this.isOpening ? inStreamScope(this.around, () => sink.next(message)) : sink.next(message);
    this.handingOver -= 1;
    this.hasEnough = answer === false && !this.readOnAsked;
  }

  // ── the end ──

  /** True if the stream has ended. User code (`factory`, `onError`, subscribers) may end it at any point. */
  protected over(): boolean {
    return this.isOver;
  }

  protected get isRunning(): boolean {
    return this.call !== undefined;
  }

  /** Ends the stream and releases its resources. Returns false if it had already ended. */
  protected finish(how: StreamOutcome): boolean {
    if (this.isOver) return false;
    this.isOver = true;
    this.outcome = how;
    this.backoff?.unsubscribe();
    this.leaveCall()?.unsubscribe();
    this.notifyHosts();
    return true;
  }

  /** Detaches the current call; its later events are ignored. */
  protected leaveCall(): StreamSource | undefined {
    const source = this.call?.source;
    this.call = undefined;
    this.age?.unsubscribe();
    return source;
  }

  private notifyHosts(): void {
    for (const host of this.hosts) {
      this.hosts.delete(host);
      host.ended(this.outcome);
    }
  }

  /** Runs `work` in the outer scope: calls that the reader starts in response to a synchronous event do not belong to this stream. */
  private outside(work: () => void): void {
    if (this.isOpening) inStreamScope(this.around, work);
    else work();
  }

  /** Monotonic by default: the default scheduler uses wall-clock time, which can be set back. */
  private now(): number {
    return this.shared.scheduler?.now() ?? systemClock.now();
  }
}

/** Creates the Observable that users receive; each subscription starts one run with `open`. */
export function streamOf<T>(open: StreamFactory<T>): GrpcObservable<T> {
  return new GrpcObservable<T>((subscriber) => {
    const run = open(subscriber, currentStreamScope());
    // Added before `begin`: a synchronous call may cause the subscriber to unsubscribe inside it.
    subscriber.add(run);
    run.begin();
  }, open);
}

function hasFlowControl<T>(stream: Observable<T>): stream is GrpcObservable<T> {
  return 'openStream' in stream && typeof stream.openStream === 'function';
}
