import type { Channel } from '@grpc/grpc-js';
import type { Attempt, AttemptListener, AttemptRequest } from '../call/attempt.js';
import type { CallTransport, Waiter, WaitRefusal } from '../call/call-transport.js';
import type { Connectivity, ConnectivityState, ConnectivityTransition } from '../call/connectivity.js';
import type { EventHub } from '../call/event-hub.js';
import { nextOutage } from '../policy/outage/next-outage.js';
import {
  DEFAULT_OUTAGE_POLICY,
  insideGrace,
  NO_OUTAGE,
  type Outage,
  type OutageEvent,
  type OutagePolicy,
  type OutageState,
} from '../policy/outage/outage-state.js';
import { connectTimeoutMs } from '../policy/reconnect/connect-timeout.js';
import { earlyReconnectMs } from '../policy/reconnect/early-reconnect.js';
import { UsualLoad } from '../policy/release/usual-load.js';
import { moment, type Clock, type Timer } from '../time/clock.js';
import { jitter, type Random } from '../time/random.js';
import { CallRelease } from './call-release.js';
import { ChannelGeneration, type EndedConnection, type GenerationObserver } from './channel-generation.js';
import type { ChannelSettings } from './channel-settings.js';
import { CLOSED, outageRefusal, tooManyWaiting } from './refusal.js';
import { WaitingCalls } from './waiting-calls.js';
import { WireAttempt } from './wire-attempt.js';

/** What a managed channel is made with. */
export interface ChannelSeams {
  readonly clock: Clock;
  readonly random: Random;
  readonly events: EventHub;
  /** Told after each change of `connectivity`. */
  readonly changed: () => void;
}

const HISTORY = 100;
/** Calls failed in one turn of the event loop at the end of a grace. */
const REFUSAL_SLICE = 256;

/**
 * One grpc-js channel and everything known about it: state and history, outage and grace, who waits, how they are let out, when
 * it is connected again. Calls begin on a READY channel only, so grpc-js never queues one: waiting, its bounds and its end are
 * decided here.
 */
export class ManagedChannel implements CallTransport, GenerationObserver {
  readonly target: string;
  readonly history: ConnectivityTransition[] = [];
  ready = false;

  private readonly waiting = new WaitingCalls();
  private readonly load: UsualLoad;
  private readonly release: CallRelease;
  private readonly outagePolicy: OutagePolicy;
  private outage: OutageState = NO_OUTAGE;
  private current: ChannelGeneration;
  /** Takes over when it is READY. */
  private successor: { readonly generation: ChannelGeneration; readonly reason: 'credentials' | 'age' } | undefined;

  private state: ConnectivityState = 'IDLE';
  private since: number;
  private lastError: string | undefined;
  private lastLivedMs: number | undefined;
  private timeouts = 0;
  private failures = 0;
  private heldInOutage = 0;
  private failedInOutage = 0;
  private closed = false;

  private graceTimer: Timer | undefined;
  private confirmTimer: Timer | undefined;
  private reconnectTimer: Timer | undefined;
  private reconnectAt: number | undefined;
  private ageTimer: Timer | undefined;
  /** Keeps the process alive while somebody waits, as a queued call of grpc-js does. */
  private holdTimer: Timer | undefined;
  private readonly unwatchCredentials: () => void;

  constructor(
    private readonly settings: ChannelSettings,
    private readonly seams: ChannelSeams,
  ) {
    this.target = settings.target;
    this.load = new UsualLoad(seams.clock.now());
    this.release = new CallRelease(this.waiting, this.load, seams.clock, () => this.ready);
    this.outagePolicy = { ...DEFAULT_OUTAGE_POLICY, graceMs: settings.outageGraceMs };
    this.since = seams.clock.epoch();
    this.current = this.makeGeneration();
    this.unwatchCredentials = settings.credentials.watch(() => {
      this.replace('credentials');
    });
    if (settings.connection === 'warm') this.connect();
  }

  /** grpc-js's channel that new calls go to. */
  get wire(): Channel {
    return this.current.channel;
  }

  /** Whether each connection is seen, or only grpc-js's public states. */
  get observed(): boolean {
    return this.current.observed;
  }

  get isClosed(): boolean {
    return this.closed;
  }

  get waitingCalls(): number {
    return this.waiting.size;
  }

  get connectivity(): Connectivity {
    const { current: outage } = this.outage;
    return {
      state: this.state,
      since: moment(this.since),
      ...(this.lastError === undefined ? {} : { lastError: this.lastError }),
      ...(outage === undefined ? {} : { outage: this.describeOutage(outage) }),
    };
  }

  // ── calls ──

  start(request: AttemptRequest, listener: AttemptListener): Attempt {
    const { clock } = this.seams;
    this.load.callStarted(clock.now());
    const attempt = new WireAttempt(this.current, request, listener, clock);
    this.current.attemptStarted();
    return attempt;
  }

  answered(latencyMs: number | undefined): void {
    if (latencyMs !== undefined) this.load.answered(latencyMs);
    this.current.answered();
    if (this.outage.current !== undefined) this.outageEvent({ type: 'answered', at: this.seams.clock.now() });
  }

  releasedEnded(latencyMs: number | undefined): void {
    if (latencyMs === undefined) this.release.failed();
    else this.release.answered(latencyMs);
  }

  whyNotReady(): string {
    const because = this.lastError === undefined ? '' : ` (${this.lastError})`;
    return `${this.target} is ${this.state}${because}`;
  }

  wait(waiter: Waiter): void {
    const refusal = this.refusalFor(waiter);
    if (refusal !== undefined) {
      if (this.outage.current !== undefined) this.failedInOutage += 1;
      this.seams.clock.defer(() => {
        waiter.refuse(refusal);
      });
      this.wake();
      return;
    }
    this.waiting.push(waiter);
    this.holdTimer ??= this.seams.clock.setTimer(() => undefined, Infinity, true);
    if (this.outage.current !== undefined) this.heldInOutage += 1;
    if (this.ready) this.release.begin(true);
    else this.wake();
  }

  /** Somebody wants the channel. */
  private wake(): void {
    if (this.state === 'IDLE') this.connect();
    else this.reconnectEarly();
  }

  leave(waiter: Waiter): void {
    if (this.waiting.remove(waiter)) this.releaseHold();
  }

  /** Why `waiter` may not wait. */
  private refusalFor(waiter: Waiter): WaitRefusal | undefined {
    if (this.closed) return CLOSED;
    if (this.outage.current !== undefined && !this.ready && !this.mayWaitOut(waiter)) return this.outageRefusal();
    const { maxWaitingCalls, maxWaitingBytes } = this.settings;
    if (this.waiting.size >= maxWaitingCalls || this.waiting.bytes + waiter.bytes > maxWaitingBytes) {
      return tooManyWaiting(this.target, this.waiting.size, this.waiting.bytes);
    }
    return undefined;
  }

  private mayWaitOut(waiter: Waiter): boolean {
    if (waiter.waitForReady !== undefined) return waiter.waitForReady;
    return insideGrace(this.outage, this.seams.clock.now());
  }

  private releaseHold(): void {
    if (this.waiting.size > 0 || this.holdTimer === undefined) return;
    this.seams.clock.clearTimer(this.holdTimer);
    this.holdTimer = undefined;
  }

  // ── connecting ──

  /** Leaves IDLE, in a turn of its own: a channel that goes idle is still in the middle of it. */
  connect(): void {
    this.seams.clock.defer(() => {
      if (!this.closed && this.state === 'IDLE') this.current.connect();
    });
  }

  onConnectFailed(generation: ChannelGeneration, cause: string): void {
    this.timeouts = cause.startsWith('timed out') ? this.timeouts + 1 : 0;
    if (generation !== this.current) return;
    this.failures += 1;
    this.lastError = cause;
  }

  onConnectionEnded(generation: ChannelGeneration, ended: EndedConnection): void {
    if (generation !== this.current) return;
    this.lastLivedMs = ended.livedMs;
    const at = this.seams.clock.now();
    this.lastError = `the connection to ${ended.address} ended after ${(ended.livedMs / 1000).toFixed(1)} s`;
    this.outageEvent({ type: 'connection-ended', at, livedMs: ended.livedMs, answered: ended.answered });
  }

  onKeepaliveThrottled(keepaliveTimeMs: number): void {
    if (!this.seams.events.wanted) return;
    this.seams.events.emit({ type: 'keepalive-throttled', keepaliveTimeMs });
  }

  onState(generation: ChannelGeneration, state: ConnectivityState, error: string | undefined): void {
    if (this.closed) return;
    if (generation === this.successor?.generation) {
      if (state === 'READY') this.promote();
      return;
    }
    if (generation !== this.current) return;
    // What is known of single connections says more than the child policy's summary of them.
    if (error !== undefined && this.failures === 0) this.lastError = error;
    this.enter(state);
    if (state === 'READY') this.becameReady();
    else this.becameUnready(state);
  }

  private enter(state: ConnectivityState): void {
    if (state === this.state) return;
    const from = this.state;
    this.state = state;
    this.ready = state === 'READY';
    this.since = this.seams.clock.epoch();
    const cause = state === 'IDLE' || state === 'TRANSIENT_FAILURE' ? this.lastError : undefined;
    const transition = { from, to: state, ...(cause === undefined ? {} : { cause }) };
    this.history.push({ ...transition, at: moment(this.since) });
    if (this.history.length > HISTORY) this.history.shift();
    if (this.seams.events.wanted) this.seams.events.emit({ type: 'connectivity', ...transition });
    this.seams.changed();
  }

  private becameReady(): void {
    this.failures = 0;
    this.clear('reconnectTimer');
    this.reconnectAt = undefined;
    const inOutage = this.outage.current !== undefined;
    if (inOutage) {
      const { clock } = this.seams;
      this.outageEvent({ type: 'ready', at: clock.now() });
      this.confirmTimer ??= clock.setTimer(() => {
        this.confirmTimer = undefined;
        if (this.ready) this.outageEvent({ type: 'ready-lasted', at: clock.now() });
      }, this.outagePolicy.confirmMs);
    }
    this.startAge();
    this.release.begin(inOutage);
  }

  private becameUnready(state: ConnectivityState): void {
    this.clear('confirmTimer');
    this.clear('ageTimer');
    this.release.stop();
    // New credentials or a younger channel were wanted anyway: there is nothing left to wait for.
    if (this.successor !== undefined && state !== 'CONNECTING') {
      this.promote();
      return;
    }
    if (state === 'TRANSIENT_FAILURE') {
      const at = this.seams.clock.now();
      for (; this.failures > 0; this.failures -= 1) this.outageEvent({ type: 'attempt-failed', at });
      this.reconnectEarly();
    } else if (state === 'IDLE' && this.wantsConnection()) {
      this.connect();
    }
  }

  /** In an outage too, though nobody waits: it must end by itself, or those who look at it before they call never would. */
  private wantsConnection(): boolean {
    return this.waiting.size > 0 || this.outage.current !== undefined || this.settings.connection === 'warm';
  }

  /** Ends grpc-js's backoff early while that helps somebody and hurts nobody. */
  private reconnectEarly(): void {
    if (this.state !== 'TRANSIENT_FAILURE' || this.reconnectTimer !== undefined) return;
    const { clock, random } = this.seams;
    const delayMs = earlyReconnectMs(
      {
        insideGrace: insideGrace(this.outage, clock.now()),
        waiting: this.waiting.size > 0,
        lastLivedMs: this.lastLivedMs,
        failure: this.lastError ?? '',
        tries: this.outage.current?.tries ?? 1,
      },
      random,
    );
    if (delayMs === undefined) return;
    this.reconnectAt = clock.epoch() + delayMs;
    this.reconnectTimer = clock.setTimer(() => {
      this.reconnectTimer = undefined;
      this.reconnectAt = undefined;
      if (this.state === 'TRANSIENT_FAILURE') this.current.endBackoff();
    }, delayMs);
  }

  // ── outage ──

  private outageEvent(event: OutageEvent): void {
    const before = this.outage.current;
    this.outage = nextOutage(this.outage, event, this.outagePolicy);
    const after = this.outage.current;
    if (before === undefined && after !== undefined) this.outageBegan(after);
    else if (before !== undefined && after === undefined) this.outageEnded(before, event.at);
    else if (before !== after) this.seams.changed();
  }

  private outageBegan(outage: Outage): void {
    const { clock, events } = this.seams;
    this.load.freeze(clock.now());
    this.heldInOutage = this.waiting.size;
    this.failedInOutage = 0;
    if (events.wanted) {
      events.emit({
        type: 'outage-start',
        cause: this.lastError ?? 'the connection failed',
        graceMs: outage.graceEndsAt - outage.startedAt,
        flapping: outage.flapping,
      });
    }
    this.refuseSlice((waiter) => waiter.waitForReady === false);
    this.graceTimer ??= clock.setTimer(this.graceEnded, outage.graceEndsAt - clock.now());
    this.seams.changed();
  }

  private outageEnded(outage: Outage, at: number): void {
    this.load.thaw(at);
    this.clear('graceTimer');
    this.clear('confirmTimer');
    if (this.seams.events.wanted) {
      this.seams.events.emit({
        type: 'outage-end',
        durationMs: at - outage.startedAt,
        tries: outage.tries,
        held: this.heldInOutage,
        failed: this.failedInOutage,
      });
    }
    this.seams.changed();
  }

  private readonly graceEnded = (): void => {
    this.graceTimer = undefined;
    this.seams.changed();
    this.refuseSlice((waiter) => waiter.waitForReady === undefined);
  };

  /** Fails who may no longer wait, a slice in each turn: thousands of errors at once would block the event loop. */
  private refuseSlice(which: (waiter: Waiter) => boolean): void {
    if (this.ready || this.outage.current === undefined) return;
    const refusal = this.outageRefusal();
    const leaving = this.waiting.takeWhere(which, REFUSAL_SLICE);
    this.releaseHold();
    this.failedInOutage += leaving.length;
    for (const waiter of leaving) waiter.refuse(refusal);
    if (leaving.length === REFUSAL_SLICE) {
      this.seams.clock.defer(() => {
        this.refuseSlice(which);
      });
    }
  }

  private outageRefusal(): WaitRefusal {
    const { clock } = this.seams;
    const next = this.nextAttemptAt();
    const { current } = this.outage;
    return outageRefusal({
      target: this.target,
      lastedMs: current === undefined ? 0 : clock.now() - current.startedAt,
      cause: this.lastError ?? 'the connection failed',
      tries: current?.tries ?? 0,
      nextTryInMs: next === undefined ? undefined : Math.max(0, next - clock.epoch()),
    });
  }

  private nextAttemptAt(): number | undefined {
    return this.reconnectAt ?? this.current.nextAttemptAt();
  }

  private describeOutage(outage: Outage): NonNullable<Connectivity['outage']> {
    const { clock } = this.seams;
    // Monotonic inside, as the wall shows it outside.
    const shift = clock.epoch() - clock.now();
    const next = this.ready ? undefined : this.nextAttemptAt();
    return {
      since: moment(outage.startedAt + shift),
      graceEndsAt: moment(outage.graceEndsAt + shift),
      attempts: outage.tries,
      flapping: outage.flapping,
      ...(next === undefined ? {} : { nextAttemptAt: moment(next) }),
    };
  }

  // ── replacement ──

  /** Makes a new channel beside the present one; it takes over once it is READY. */
  private replace(reason: 'credentials' | 'age'): void {
    if (this.closed) return;
    this.successor?.generation.close();
    const generation = this.makeGeneration();
    this.successor = { generation, reason };
    if (this.ready) generation.connect();
    else this.promote();
  }

  private promote(): void {
    const { successor } = this;
    if (successor === undefined) return;
    const old = this.current;
    this.successor = undefined;
    this.current = successor.generation;
    if (this.seams.events.wanted) this.seams.events.emit({ type: 'connection-replaced', reason: successor.reason });
    old.retire();
    this.onState(this.current, this.current.state, undefined);
  }

  private startAge(): void {
    const { maxConnectionAgeMs } = this.settings;
    if (maxConnectionAgeMs === undefined) return;
    this.clear('ageTimer');
    this.ageTimer = this.seams.clock.setTimer(
      () => {
        this.ageTimer = undefined;
        this.replace('age');
      },
      jitter(maxConnectionAgeMs, 0.1, this.seams.random),
    );
  }

  private makeGeneration(): ChannelGeneration {
    const { settings, seams } = this;
    return new ChannelGeneration(
      {
        target: settings.target,
        credentials: settings.credentials.current,
        channelOptions: settings.channelOptions,
        loadBalancing: settings.loadBalancing,
        connectLimits: { timeoutMs: () => connectTimeoutMs(settings.connectTimeoutMs, this.timeouts) },
      },
      this,
      seams.clock,
      seams.random,
    );
  }

  /** Ends waiting and connecting, then the channel. Calls in flight are their owners' to end. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.unwatchCredentials();
    this.settings.credentials.close();
    this.release.stop();
    for (const timer of ['graceTimer', 'confirmTimer', 'reconnectTimer', 'ageTimer'] as const) this.clear(timer);
    for (const waiter of this.waiting.takeWhere(() => true, Infinity)) waiter.refuse(CLOSED);
    this.releaseHold();
    this.enter('SHUTDOWN');
    this.successor?.generation.close();
    this.current.close();
  }

  private clear(timer: 'graceTimer' | 'confirmTimer' | 'reconnectTimer' | 'ageTimer'): void {
    const set = this[timer];
    if (set !== undefined) this.seams.clock.clearTimer(set);
    this[timer] = undefined;
  }
}
