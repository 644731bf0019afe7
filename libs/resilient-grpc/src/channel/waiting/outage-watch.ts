import type { Connectivity } from '../../call/connectivity.js';
import type { EventHub } from '../../call/event-hub.js';
import { nextOutage } from '../../policy/outage/next-outage.js';
import {
  DEFAULT_OUTAGE_POLICY,
  insideGrace,
  NO_OUTAGE,
  type Outage,
  type OutageEvent,
  type OutagePolicy,
  type OutageState,
} from '../../policy/outage/outage-state.js';
import type { UsualLoad } from '../../policy/release/usual-load.js';
import { moment, type Clock, type Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';

/** The channel whose outages are watched. */
export interface OutageOwner {
  readonly ready: boolean;
  /** Why it could not connect, or lost its connection. */
  readonly lastError: string | undefined;
  /** What the attempt to connect waits for. */
  readonly connecting: string | undefined;
  /** Calls that wait now. */
  readonly waiting: { readonly size: number };
  outageBegan(): void;
  graceEnded(): void;
  /** Anything that shows in `connectivity` is another now. */
  changed(): void;
}

/** An outage that is over. */
export interface PastOutage {
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly durationMs: number;
  readonly cause: string;
  /** Failed attempts to connect. */
  readonly tries: number;
  /** Calls that waited in it. */
  readonly held: number;
  /** Calls whose callers left while they waited, or whose deadlines came. */
  readonly left: number;
  /** Calls that waited and failed, or were refused. */
  readonly failed: number;
}

/** An attempt to connect that calls wait for is reported when it has taken this long. The log of outages uses the same time. */
const SLOW_CONNECT_MS = 1_500;
/** Outages that are remembered. */
const REMEMBERED = 20;

/** Applies the rules of outages to one channel: keeps their time, counts who was held, and tells. */
export class OutageWatch {
  private readonly policy: OutagePolicy;
  private state: OutageState = NO_OUTAGE;
  private graceTimer: Timer | undefined;
  private confirmTimer: Timer | undefined;
  /** Set while calls wait for a connection without an outage, and after that has been reported, until READY. */
  private slowConnect: PeerTimer | undefined;
  private held = 0;
  private left = 0;
  private failed = 0;
  private cause = '';
  /** From monotonic time to the wall's, as it was when the outage began: asked again it would be another by a fraction. */
  private shift = 0;
  /** Those that have begun. */
  total = 0;
  /** The latest that are over, oldest first. */
  readonly past: PastOutage[] = [];

  constructor(
    graceMs: number,
    private readonly owner: OutageOwner,
    private readonly load: UsualLoad,
    private readonly clock: Clock,
    private readonly events: EventHub,
  ) {
    this.policy = { ...DEFAULT_OUTAGE_POLICY, graceMs };
  }

  /** The outage that is on. */
  get current(): Outage | undefined {
    return this.state.current;
  }

  /** Calls wait rather than fail. */
  get insideGrace(): boolean {
    return insideGrace(this.state, this.clock.now());
  }

  /** For `Connectivity`: times as the wall shows them. */
  describe(nextAttemptAt: number | undefined): Pick<Connectivity, 'outage'> {
    const { current } = this.state;
    if (current === undefined) return {};
    const { shift } = this;
    return {
      outage: {
        since: moment(current.startedAt + shift),
        graceEndsAt: moment(current.graceEndsAt + shift),
        attempts: current.tries,
        flapping: current.flapping,
        ...(nextAttemptAt === undefined ? {} : { nextAttemptAt: moment(nextAttemptAt) }),
      },
    };
  }

  attemptFailed(): void {
    this.apply({ type: 'attempt-failed', at: this.clock.now() });
  }

  connectionEnded(livedMs: number, answered: boolean): void {
    this.apply({ type: 'connection-ended', at: this.clock.now(), livedMs, answered });
  }

  answered(): void {
    if (this.state.current !== undefined) this.apply({ type: 'answered', at: this.clock.now() });
  }

  becameReady(): void {
    this.stopSlowConnect();
    if (this.state.current === undefined) return;
    this.apply({ type: 'ready', at: this.clock.now() });
    this.confirmAfter(this.policy.confirmMs);
  }

  becameUnready(): void {
    if (this.confirmTimer !== undefined) this.clock.clearTimer(this.confirmTimer);
    this.confirmTimer = undefined;
  }

  /** A call begins to wait. */
  callHeld(): void {
    if (this.state.current !== undefined) this.held += 1;
    else if (!this.owner.ready) this.slowConnect ??= new PeerTimer(this.clock, SLOW_CONNECT_MS, this.connectIsSlow);
  }

  /** Until its timeout, an attempt to connect to a silent peer is no failure: no outage begins, and nothing else is reported. */
  private readonly connectIsSlow = (): void => {
    const { ready, waiting, connecting = 'it has not failed yet' } = this.owner;
    if (ready || this.state.current !== undefined || waiting.size === 0) this.stopSlowConnect();
    else if (this.events.wanted) {
      this.events.emit({ type: 'slow-connect', cause: connecting, waiting: waiting.size });
    }
  };

  /** A call that waited does not any more: its caller left, or its deadline came. */
  callLeft(): void {
    if (this.state.current !== undefined) this.left += 1;
  }

  /** Calls that waited, or would have, failed. */
  callsFailed(count: number): void {
    if (this.state.current !== undefined) this.failed += count;
  }

  close(): void {
    this.becameUnready();
    this.clearGrace();
    this.stopSlowConnect();
  }

  private apply(event: OutageEvent): void {
    const before = this.state.current;
    this.state = nextOutage(this.state, event, this.policy);
    const after = this.state.current;
    if (before === after) return;
    if (before === undefined && after !== undefined) this.began(after);
    else if (before !== undefined && after === undefined) this.ended(before, event.at);
    this.owner.changed();
  }

  private began(outage: Outage): void {
    this.load.freeze(outage.startedAt);
    this.held = this.owner.waiting.size;
    this.left = 0;
    this.failed = 0;
    this.total += 1;
    this.shift = this.clock.epoch() - this.clock.now();
    this.cause = this.owner.lastError ?? 'the connection failed';
    this.clearGrace();
    this.endGraceAt(outage.graceEndsAt);
    if (this.events.wanted) {
      const { cause } = this;
      const graceMs = Math.max(0, outage.graceEndsAt - outage.startedAt);
      this.events.emit({ type: 'outage-start', cause, graceMs, flapping: outage.flapping });
    }
    this.owner.outageBegan();
  }

  // Timers of Node may come a little early, by its cached time and by whole milliseconds: what is judged by the clock then is judged
  // again, or calls would wait on beyond the grace, and an outage go on for as long as nobody calls.

  private endGraceAt(graceEndsAt: number): void {
    const timer = this.clock.setTimer(() => {
      if (this.insideGrace) {
        this.endGraceAt(graceEndsAt);
        return;
      }
      // Timers run before sockets are read: after a standstill of this process a connection may be READY in this very turn.
      this.clock.defer(() => {
        if (this.graceTimer !== timer) return;
        this.graceTimer = undefined;
        this.owner.graceEnded();
        this.owner.changed();
      });
    }, graceEndsAt - this.clock.now());
    this.graceTimer = timer;
  }

  private confirmAfter(ms: number): void {
    this.confirmTimer ??= this.clock.setTimer(() => {
      this.confirmTimer = undefined;
      if (!this.owner.ready) return;
      const at = this.clock.now();
      this.apply({ type: 'ready-lasted', at });
      const since = this.state.current?.readySince;
      if (since !== undefined) this.confirmAfter(this.policy.confirmMs - (at - since));
    }, ms);
  }

  private ended(outage: Outage, at: number): void {
    this.load.thaw(at);
    this.close();
    const { cause, held, left, failed } = this;
    const { tries } = outage;
    const durationMs = at - outage.startedAt;
    this.past.push({ since: outage.startedAt + this.shift, durationMs, cause, tries, held, left, failed });
    if (this.past.length > REMEMBERED) this.past.shift();
    if (this.events.wanted) this.events.emit({ type: 'outage-end', durationMs, tries, held, left, failed });
  }

  private stopSlowConnect(): void {
    this.slowConnect?.clear();
    this.slowConnect = undefined;
  }

  private clearGrace(): void {
    if (this.graceTimer !== undefined) this.clock.clearTimer(this.graceTimer);
    this.graceTimer = undefined;
  }
}
