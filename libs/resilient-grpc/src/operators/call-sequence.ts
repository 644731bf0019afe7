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
import type { OpenStream, StreamSink, StreamSource } from '../call/stream-source.js';
import { decideResume, NO_SETBACK, type EndedCall } from '../policy/resume/decide-resume.js';
import type { ResumePolicy } from '../policy/resume/resume-policy.js';
import { failureKind, type StreamFailure } from '../policy/resume/stream-failure.js';
import { show } from '../policy/service-config/problem.js';
import type { StatusCode } from '../status/status-code.js';
import { systemClock } from '../time/clock.js';
import { jitter, systemRandom, type Random } from '../time/random.js';
import { PLAIN_PREFETCH, PlainSource } from './plain-source.js';
import { readStreamFailure } from './read-stream-failure.js';
import { tooMuchHeld } from './resume-failures.js';
import { timerMs } from './seams.js';

/** Options of a stream of several calls that hold for what each of them is, complete. */
export interface SequenceSettings {
  readonly pace: ResumePolicy;
  /** Infinity: any age. */
  readonly maxAgeMs: number;
  readonly scheduler: SchedulerLike | undefined;
  readonly random: Random | undefined;
}

/** What a call ended with. */
export interface CallFailed {
  readonly error: unknown;
  /** What it says about the next call; @defaultValue what can be read from `error` */
  readonly says?: StreamFailure | undefined;
  /** Milliseconds of silence that this side ended the call for. @defaultValue 0 */
  readonly silentMs?: number;
}

/** One call of the stream; its identity tells it from those before it. */
interface Call {
  source: StreamSource | undefined;
}

/**
 * One run of a stream of several calls, pushed or pulled: begins call after call, as its heir makes them, and gives him what
 * they bring. Between two calls it waits for its timer, and then, where it is pulled, for a reader who wants something: a call
 * that nobody reads would only be cut again.
 */
export abstract class CallSequence<T> implements StreamSource, StreamScope {
  // As StreamScope
  resumes = 0;
  deadline = Infinity;
  readonly hosts = new Set<StreamHost>();
  handedOver = 0;
  isOver = false;
  // As StreamSource: that of the latest call.
  prefetch = PLAIN_PREFETCH;

  protected readonly scheduler: SchedulerLike;
  protected hasEnough = false;

  private readonly random: Random;
  private state = NO_SETBACK;
  private call: Call | undefined;
  private hasBegun = false;
  /** When the call that runs, or ran last, began; of a client's call its last attempt. */
  private beganAt = 0;
  /** Until the next call. */
  private backoff: Subscription | undefined;
  /** Until the call that runs is too old. */
  private age: Subscription | undefined;
  private outcome: StreamOutcome = 'cancelled';
  /** The scope in which the stream was begun. */
  private around: StreamScope | undefined;
  /** A call is just being begun: its client may yet refuse it, by ending the whole stream. */
  protected isOpening = false;
  /** The next call is due, and waits for the reader. */
  private isDue = false;
  private handingOver = 0;
  private readOnAsked = false;

  constructor(
    private readonly shared: SequenceSettings,
    private readonly sink: StreamSink<T>,
    /** The stream of which this one is a call. */
    readonly outer: StreamScope | undefined,
  ) {
    this.scheduler = shared.scheduler ?? asyncScheduler;
    this.random = shared.random ?? systemRandom;
  }

  /** What users know it by. */
  protected abstract readonly operator: string;
  /** Makes the next call. */
  protected abstract make(): unknown;
  /** Takes a message of the call that runs; which may break off meanwhile. */
  protected abstract take(message: T): void;
  /** The call that ran was ended in order, by the server. */
  protected abstract endedInOrder(): void;
  /** Whether the call that runs, or ran last, brought the stream further. */
  protected abstract get hasProgressed(): boolean;
  /** What the user says to `error`. */
  protected abstract ask(error: unknown): EndedCall['asked'];
  /** The end of a stream at whose place the server fails time after time, at last with `error`. */
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
    // From within `next`: its result says so in turn, and the stack stays flat.
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
    // What ended the stream while the call was begun may have come before the client had its place in it.
    if (this.over()) this.tellHosts();
  };

  private start(call: Call): void {
    const stream = this.make();
    if (!isObservable(stream)) {
      throw new TypeError(`${this.operator}: the factory gave ${show(stream)}, expected an Observable`);
    }
    if (this.over()) return;
    // True: what the factory's type says, as far as can be looked at.
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
      // What comes late of a call that was left comes again.
      next: (message) => {
        if (this.call === call) this.take(message);
        return this.call === call && !this.hasEnough;
      },
      error: (error) => {
        if (this.call !== call) return;
        this.leaveCall();
        this.goOn({ error });
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

  /** The call that runs has reached its age. */
  protected tooOld(): void {
    this.replaceCall(undefined);
  }

  /** Cancels the call that runs, on the wire too, and resumes; `undefined`: because of its age. */
  protected replaceCall(failure: CallFailed | undefined): void {
    const source = this.leaveCall();
    source?.unsubscribe();
    if (!this.over()) this.goOn(failure, failure === undefined);
  }

  /** Resumes after a call that ended, or was left for its age; `undefined`: without a failure. */
  protected goOn(failure: CallFailed | undefined, aged = false): void {
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
    // No longer than the whole may take: the call that begins then tells that its time is over.
    const leftMs = this.deadline - this.scheduler.now();
    const waitMs = leftMs > 0 ? Math.min(delayMs, leftMs) : delayMs;
    // Also where it is at once: a server that ends each call as it begins must not keep this turn going.
    this.backoff = this.scheduler.schedule(this.open, timerMs(waitMs));
  }

  // ── messages ──

  protected handOver(message: T): void {
    this.handedOver += 1;
    this.handingOver += 1;
    this.readOnAsked = false;
    const { sink } = this;
    const answer = this.isOpening ? inStreamScope(this.around, () => sink.next(message)) : sink.next(message);
    this.handingOver -= 1;
    this.hasEnough = answer === false && !this.readOnAsked;
  }

  // ── the end ──

  /** What users do in between (factory, onError, whoever is told) may end it at any place. */
  protected over(): boolean {
    return this.isOver;
  }

  protected get isRunning(): boolean {
    return this.call !== undefined;
  }

  /** Lets go of everything, once; whether this was that once. */
  protected finish(how: StreamOutcome): boolean {
    if (this.isOver) return false;
    this.isOver = true;
    this.outcome = how;
    this.backoff?.unsubscribe();
    this.leaveCall()?.unsubscribe();
    this.tellHosts();
    return true;
  }

  /** What comes of the call that ran is not ours any more. */
  protected leaveCall(): StreamSource | undefined {
    const source = this.call?.source;
    this.call = undefined;
    this.age?.unsubscribe();
    return source;
  }

  private tellHosts(): void {
    for (const host of this.hosts) {
      this.hosts.delete(host);
      host.ended(this.outcome);
    }
  }

  /** Calls that the reader begins in answer to what comes at once are not of this stream. */
  private outside(work: () => void): void {
    if (this.isOpening) inStreamScope(this.around, work);
    else work();
  }

  /** Not the scheduler's by default: that is the clock on the wall, which may be put back by an hour. */
  private now(): number {
    return this.shared.scheduler?.now() ?? systemClock.now();
  }
}

/** What runs that `open` makes are to a user. */
export function streamOf<T>(open: OpenStream<T>): GrpcObservable<T> {
  return new GrpcObservable<T>((subscriber) => {
    const run = open(subscriber, currentStreamScope());
    // First, since a synchronous call may have the subscriber leave within `begin`.
    subscriber.add(run);
    run.begin();
  }, open);
}

function hasFlowControl<T>(stream: Observable<T>): stream is GrpcObservable<T> {
  return 'openStream' in stream && typeof stream.openStream === 'function';
}
