import { asyncScheduler, isObservable, type Observable, type SchedulerLike, type Subscription } from 'rxjs';
import type { GrpcObservable } from '../call/grpc-observable.js';
import {
  currentStreamScope,
  inStreamScope,
  type StreamHost,
  type StreamOutcome,
  type StreamScope,
} from '../call/stream-scope.js';
import type { StreamDemand, StreamSink, StreamSource } from '../call/stream-source.js';
import { CursorTrack, type CompareCursors } from '../policy/resume/cursor-track.js';
import { decideResume, NO_SETBACK, type EndedCall, type ResumeDecision } from '../policy/resume/decide-resume.js';
import type { ResumePolicy } from '../policy/resume/resume-policy.js';
import { failureKind, type StreamFailure } from '../policy/resume/stream-failure.js';
import { show } from '../policy/service-config/problem.js';
import { systemClock } from '../time/clock.js';
import { jitter, systemRandom, type Random } from '../time/random.js';
import { PLAIN_PREFETCH, PlainSource } from './plain-source.js';
import { readStreamFailure } from './read-stream-failure.js';
import { cannotPlace, poisoned, tooMuchHeld } from './resume-failures.js';
import { timerMs } from './seams.js';

/** Options of `resumable`, complete. */
export interface ResumeSettings<T, C> {
  readonly factory: (cursor: C, attempt: number) => Observable<T>;
  readonly cursor: (message: T) => C;
  readonly seed: C;
  readonly compare: CompareCursors<C>;
  readonly heartbeat: ((message: T) => boolean) | undefined;
  readonly onError: ((error: unknown, cursor: C) => EndedCall['asked']) | undefined;
  readonly resumesCompleted: boolean;
  readonly maxAgeMs: number;
  readonly pace: ResumePolicy;
  readonly scheduler: SchedulerLike | undefined;
  readonly random: Random | undefined;
}

/** One call of the stream; its identity tells it from those before it. */
interface Call {
  source: StreamSource | undefined;
}

/**
 * One run of a resumable stream, pushed or pulled: begins call after call, and passes on what is new. Between two calls it waits
 * for its timer, and then, where it is pulled, for a reader who wants something: a call that nobody reads would only be cut again.
 */
export class ResumableRun<T, C> implements StreamSource, StreamScope {
  // As StreamScope
  deadline = Infinity;
  host: StreamHost | undefined;
  handedOver = 0;
  // As StreamSource: that of the latest call.
  prefetch = PLAIN_PREFETCH;

  private readonly track: CursorTrack<C>;
  private readonly scheduler: SchedulerLike;
  private readonly random: Random;
  private state = NO_SETBACK;
  private attempt = 0;
  private call: Call | undefined;
  private beganAt = 0;
  /** Until the next call. */
  private backoff: Subscription | undefined;
  /** Until the call that runs is too old. */
  private age: Subscription | undefined;
  private isOver = false;
  private outcome: StreamOutcome = 'cancelled';
  private hostKnows = false;
  /** The scope in which the stream was begun. */
  private around: StreamScope | undefined;
  private isOpening = false;

  private hasEnough = false;
  /** The next call is due, and waits for the reader. */
  private isDue = false;
  private handingOver = 0;
  private readOnAsked = false;

  constructor(
    private readonly settings: ResumeSettings<T, C>,
    private readonly sink: StreamSink<T>,
  ) {
    this.track = new CursorTrack(settings.seed, settings.compare);
    this.scheduler = settings.scheduler ?? asyncScheduler;
    this.random = settings.random ?? systemRandom;
  }

  get resumes(): number {
    return this.attempt - 1;
  }

  get demand(): StreamDemand | undefined {
    return this.sink.demand;
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
    if (!this.finish('succeeded')) return;
    this.outside(() => {
      this.sink.complete();
    });
  }

  fail(error: unknown): void {
    if (!this.finish('failed')) return;
    this.outside(() => {
      this.sink.error(error);
    });
  }

  // ── calls ──

  private readonly open = (): void => {
    if (this.isOver) return;
    this.isDue = this.hasEnough;
    if (this.isDue) return;
    const call: Call = { source: undefined };
    this.call = call;
    this.attempt += 1;
    this.track.callBegan();
    this.beganAt = this.now();
    this.armAge();
    const wasOpening = this.isOpening;
    this.isOpening = true;
    try {
      inStreamScope(this, () => {
        this.start(call);
      });
    } catch (error) {
      this.fail(error);
    } finally {
      this.isOpening = wasOpening;
    }
    // What ended the stream while the call was begun may have come before the client had its place in it.
    if (this.over()) this.tellHost();
  };

  private start(call: Call): void {
    const stream: unknown = this.settings.factory(this.track.cursor, this.attempt);
    if (!isObservable(stream)) {
      throw new TypeError(`resumable: the factory gave ${show(stream)}, expected an Observable`);
    }
    if (this.over()) return;
    // True: what the factory's type says, as far as can be looked at.
    const source = this.sourceOf(stream as Observable<T>, call);
    call.source = source;
    this.prefetch = source.prefetch;
    source.begin();
  }

  private sourceOf(stream: Observable<T>, call: Call): StreamSource {
    const sink: StreamSink<T> = {
      next: (message) => this.take(call, message),
      error: (error) => {
        this.callEnded(call, { error });
      },
      complete: () => {
        this.callEnded(call, undefined);
      },
      demand: this.demand,
    };
    if (hasFlowControl(stream)) return stream.openStream(sink);
    return new PlainSource(stream, sink, () => {
      this.fail(tooMuchHeld());
    });
  }

  private armAge(): void {
    const { maxAgeMs } = this.settings;
    if (maxAgeMs === Infinity) return;
    this.age = this.scheduler.schedule(this.tooOld, timerMs(jitter(maxAgeMs, 0.1, this.random)));
  }

  private readonly tooOld = (): void => {
    const source = this.leaveCall();
    source?.unsubscribe();
    if (!this.over()) this.goOn(undefined);
  };

  private callEnded(call: Call, failure: { readonly error: unknown } | undefined): void {
    if (this.call !== call) return;
    this.leaveCall();
    if (failure === undefined && !this.settings.resumesCompleted) this.complete();
    else this.goOn(failure);
  }

  private goOn(failure: { readonly error: unknown } | undefined): void {
    const livedMs = this.now() - this.beganAt;
    const { progressed, cursor } = this.track;
    let ended: EndedCall;
    try {
      const described = failure && readStreamFailure(failure.error);
      ended = { failure: described, progressed, livedMs, asked: this.ask(failure?.error, described) };
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.over()) return;
    const decision = decideResume(this.state, ended, this.settings.pace, this.random);
    if (decision.action === 'resume') this.resume(decision);
    else if (decision.action === 'complete') this.complete();
    else if (decision.because === 'poison') this.fail(poisoned(failure?.error, ended.failure?.code, cursor));
    else this.fail(failure?.error);
  }

  private ask(error: unknown, failure: StreamFailure | undefined): EndedCall['asked'] {
    if (failure === undefined || failureKind(failure) === 'shut') return undefined;
    return this.settings.onError?.(error, this.track.cursor);
  }

  private resume({ state, delayMs }: Extract<ResumeDecision, { action: 'resume' }>): void {
    this.state = state;
    // No longer than the whole may take: the call that begins then tells that its time is over.
    const leftMs = this.deadline - this.scheduler.now();
    const waitMs = leftMs > 0 ? Math.min(delayMs, leftMs) : delayMs;
    // Also where it is at once: a server that ends each call as it begins must not keep this turn going.
    this.backoff = this.scheduler.schedule(this.open, timerMs(waitMs));
  }

  // ── messages ──

  /** Whether more may be read. */
  private take(call: Call, message: T): boolean {
    // What comes late of a call that was left comes again.
    if (this.call !== call) return false;
    if (!this.isNew(message)) return this.call === call;
    // The call may have broken off meanwhile: the next one begins behind this message all the same.
    if (this.isOver) return false;
    this.handedOver += 1;
    this.handingOver += 1;
    this.readOnAsked = false;
    const { sink } = this;
    const answer = this.isOpening ? inStreamScope(this.around, () => sink.next(message)) : sink.next(message);
    this.handingOver -= 1;
    this.hasEnough = answer === false && !this.readOnAsked;
    return this.call === call && !this.hasEnough;
  }

  /** Whether `message` is to be handed over; the stream ends here where it cannot be. */
  private isNew(message: T): boolean {
    const { settings, track } = this;
    try {
      const isHeartbeat = settings.heartbeat?.(message) ?? false;
      const cursor = settings.cursor(message);
      if (isHeartbeat) {
        track.beat(cursor);
        return false;
      }
      const place = track.take(cursor);
      if (place === 'newer' || place === 'same') return true;
      if (place !== 'overlap') this.fail(cannotPlace(place, cursor, track.cursor));
    } catch (error) {
      this.fail(error);
    }
    return false;
  }

  // ── the end ──

  /** What users do in between (factory, onError, whoever is told) may end it at any place. */
  private over(): boolean {
    return this.isOver;
  }

  /** Lets go of everything, once; whether this was that once. */
  private finish(how: StreamOutcome): boolean {
    if (this.isOver) return false;
    this.isOver = true;
    this.outcome = how;
    this.backoff?.unsubscribe();
    this.leaveCall()?.unsubscribe();
    this.tellHost();
    return true;
  }

  /** What comes of the call that ran is not ours any more. */
  private leaveCall(): StreamSource | undefined {
    const source = this.call?.source;
    this.call = undefined;
    this.age?.unsubscribe();
    return source;
  }

  private tellHost(): void {
    if (this.host === undefined || this.hostKnows) return;
    this.hostKnows = true;
    this.host.ended(this.outcome);
  }

  /** Calls that the reader begins in answer to what comes at once are not of this stream. */
  private outside(work: () => void): void {
    if (this.isOpening) inStreamScope(this.around, work);
    else work();
  }

  /** Not the scheduler's by default: that is the clock on the wall, which may be put back by an hour. */
  private now(): number {
    return this.settings.scheduler?.now() ?? systemClock.now();
  }
}

function hasFlowControl<T>(stream: Observable<T>): stream is GrpcObservable<T> {
  return 'openStream' in stream && typeof stream.openStream === 'function';
}
