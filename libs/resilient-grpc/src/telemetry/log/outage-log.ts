import type { GrpcClientEvent } from '../../call/call-event.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { LogFields, LogLevel } from './log-line.js';
import { counted, duration, oneLine } from './log-text.js';

type EventOf<T extends GrpcClientEvent['type']> = Extract<GrpcClientEvent, { readonly type: T }>;

/**
 * A younger outage is a restart like any other, and nobody's business at night. A server that is away for a second is found
 * again up to 0.4 s later.
 */
const WORTH_A_WARNING_MS = 1_500;
const SUMMARY_MS = 60_000;
const WHAT_TO_DO = 'look at the server, the client goes on trying';

/** Whom an outage hurts. */
export interface Hurt {
  /** Calls that wait for the channel. */
  readonly waiting: number;
  /** Calls that failed for want of a connection, since the client was made. */
  readonly failed: number;
}

/** Takes what an outage has to tell. */
export type Tell = (level: Exclude<LogLevel, 'error'>, text: string, fields: LogFields) => void;

interface Told {
  readonly start: EventOf<'outage-start'>;
  readonly startedAt: number;
  /** Calls that had failed before it. */
  readonly failedBefore: number;
  told: boolean;
  /** That calls wait in it was told, or is not worth it. */
  waits: boolean;
}

/**
 * The lines of outages: one warning when an outage is 1.5 s old and some call waits or has failed, one when its grace is over and
 * calls fail, and one line when it is over. Of a second one within a minute there are the latter two: that calls fail is never held
 * back. Of a server that comes and goes there is one line a minute; such an outage is told by itself, with its end, when it outlasts the
 * grace and none of them was told in the last minute: at most three lines.
 */
export class OutageLog {
  private outage: Told | undefined;
  private timer: Timer | undefined;
  private flaps = { outages: 0, held: 0, left: 0, failed: 0 };
  private flapTimer: Timer | undefined;
  /** When the last warning of an outage was. */
  private toldAt = -Infinity;
  /** When the last line of flapping outages was. */
  private flapToldAt = -Infinity;

  constructor(
    private readonly target: string,
    private readonly hurt: () => Hurt,
    private readonly tell: Tell,
    private readonly clock: Clock,
  ) {}

  started(start: EventOf<'outage-start'>): void {
    const { flapping, graceMs } = start;
    const cause = this.causeOf(start);
    const startedAt = this.clock.now();
    const waits = flapping || startedAt - this.toldAt < SUMMARY_MS;
    this.outage = { start, startedAt, failedBefore: this.hurt().failed, told: false, waits };
    this.tell('debug', `outage: ${cause}`, { event: 'outage-start', ...this.about(start), flapping });
    if (flapping) this.flapped(start);
    this.later(waits ? Math.max(graceMs, WORTH_A_WARNING_MS) : WORTH_A_WARNING_MS);
  }

  ended({ durationMs, tries, held, left, failed }: EventOf<'outage-end'>): void {
    const { outage } = this;
    this.outage = undefined;
    this.stop();
    const isFlap = this.flapTimer !== undefined && outage?.start.flapping === true;
    if (isFlap) {
      this.flaps.held += held;
      this.flaps.left += left;
      this.flaps.failed += failed;
    }
    if (outage?.told === true && outage.start.flapping) this.flapToldAt = this.clock.now();
    // Calls that failed at its very end, say.
    const worthALine = outage?.told === true || (!isFlap && left + failed > 0 && durationMs >= WORTH_A_WARNING_MS);
    this.tell(
      worthALine ? 'log' : 'debug',
      `back after ${duration(durationMs)}, ${counted(tries, 'try', 'tries')}; ${callsOf(held, left, failed)}`,
      { event: 'outage-end', target: this.target, durationMs: Math.round(durationMs), tries, held, left, failed },
    );
  }

  /** Leaves no timer behind. */
  close(): void {
    this.stop();
    if (this.flapTimer !== undefined) this.clock.clearTimer(this.flapTimer);
    this.flapTimer = undefined;
  }

  private later(ms: number): void {
    this.stop();
    this.timer = this.clock.setTimer(this.check, ms);
  }

  private stop(): void {
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
  }

  private readonly check = (): void => {
    this.timer = undefined;
    const { outage } = this;
    if (outage === undefined) return;
    const { waiting, failed: failedSoFar } = this.hurt();
    const failed = failedSoFar - outage.failedBefore;
    if (!outage.told && waiting === 0 && failed === 0) {
      this.later(WORTH_A_WARNING_MS);
      return;
    }
    const { start, startedAt } = outage;
    if (start.flapping) {
      const quietMs = this.flapToldAt + SUMMARY_MS - this.clock.now();
      if (quietMs > 0) {
        this.later(quietMs);
        return;
      }
      this.flapToldAt = this.clock.now();
    }
    outage.told = true;
    this.toldAt = this.clock.now();
    const ageMs = this.toldAt - startedAt;
    if (outage.waits || ageMs >= start.graceMs) {
      this.graceOver(start, ageMs);
      return;
    }
    outage.waits = true;
    // Those that do not wait, by their own choice.
    const also = failed === 0 ? '' : `, ${String(failed)} failed`;
    this.tell(
      'warn',
      `outage: ${this.causeOf(start)}; calls wait up to ${duration(start.graceMs)} (${String(waiting)} waiting${also})`,
      { event: 'outage', ...this.about(start), waiting, failed },
    );
    this.later(start.graceMs - ageMs);
  };

  private graceOver(start: EventOf<'outage-start'>, ageMs: number): void {
    this.tell(
      'warn',
      `no connection for ${duration(ageMs)}: ${this.causeOf(start)}; calls fail at once (UNAVAILABLE) until there is one; ${WHAT_TO_DO}`,
      { event: 'outage-grace-over', ...this.about(start), durationMs: Math.round(ageMs) },
    );
  }

  /** The first of a minute is told at once, the rest together. */
  private flapped(start: EventOf<'outage-start'>): void {
    this.flaps.outages += 1;
    if (this.flapTimer !== undefined) return;
    this.flapToldAt = this.clock.now();
    this.tell(
      'warn',
      `flapping: three outages in a minute (${this.causeOf(start)}); they share one grace, then calls fail at once; ` +
        'see whether the server restarts again and again, or something between cuts its connections',
      { event: 'flapping', ...this.about(start), outages: 3 },
    );
    this.summarizeLater();
  }

  private readonly summarize = (): void => {
    this.flapTimer = undefined;
    const { outages, held, left, failed } = this.flaps;
    // After a quiet minute the next is told at once again.
    if (outages === 0) return;
    this.tell(
      'warn',
      `flapping: ${counted(outages, 'more outage')} in the last minute; ${callsOf(held, left, failed)}`,
      { event: 'flapping', target: this.target, outages, held, left, failed },
    );
    this.summarizeLater();
  };

  private summarizeLater(): void {
    this.flaps = { outages: 0, held: 0, left: 0, failed: 0 };
    this.flapTimer = this.clock.setTimer(this.summarize, SUMMARY_MS);
  }

  private about({ cause, graceMs }: EventOf<'outage-start'>): LogFields {
    return { target: this.target, cause: oneLine(cause), graceMs: Math.round(graceMs) };
  }

  /** With the target, where the cause does not name it: an address that a name stands for says little at night. */
  private causeOf({ cause }: EventOf<'outage-start'>): string {
    return cause.includes(this.target) ? oneLine(cause) : `${this.target}: ${oneLine(cause)}`;
  }
}

function callsOf(held: number, left: number, failed: number): string {
  return `${counted(held, 'call')} held${left === 0 ? '' : `, ${String(left)} gave up`}, ${String(failed)} failed`;
}
