import type { GrpcClientEvent } from '../../call/call-event.js';
import { DEFAULT_OUTAGE_POLICY } from '../../policy/outage/next-outage.js';
import type { Clock, Timer } from '../../time/clock.js';
import { LOG_INTERVAL_MS, LogLimiter } from './log-limiter.js';
import type { LogFields, LogLevel } from './log-line.js';
import { counted, duration, oneLine } from './log-text.js';

type EventOf<T extends GrpcClientEvent['type']> = Extract<GrpcClientEvent, { readonly type: T }>;

/**
 * The age at which an outage is logged as a warning. Shorter outages are usually ordinary restarts: the client reconnects up to 0.4 s after
 * a server that was down for a second is back.
 */
const OUTAGE_WARNING_DELAY_MS = 1_500;
const FLAPPING = 'flapping';
const { flapCount } = DEFAULT_OUTAGE_POLICY;
const NO_CALLS = { waitedCalls: 0, abandonedCalls: 0, failedCalls: 0 };
const REMEDY = 'check the server; the client keeps trying to reconnect';

/** Numbers of calls affected by an outage. */
export interface OutageImpact {
  /** Calls that wait for the channel. */
  readonly waiting: number;
  /** Calls that failed because no connection was available, since the client was created. */
  readonly failed: number;
}

/** Writes one log line about an outage. */
export type WriteLine = (level: Exclude<LogLevel, 'error'>, text: string, fields: LogFields) => void;

interface CurrentOutage {
  readonly start: EventOf<'outage-start'>;
  readonly startedAt: number;
  /** Value of `OutageImpact.failed` when the outage started. */
  readonly failedBefore: number;
  reported: boolean;
  /** True if the warning that calls are waiting has been logged or must be skipped. */
  skipsWaitWarning: boolean;
}

/**
 * Writes the log lines of outages. An outage gets at most three lines: a warning when it is 1.5 s old and a call is waiting or has failed,
 * a warning when its grace period is over and calls fail, and a line when it ends. A second outage within a minute gets only the last two:
 * the warning that calls fail is never suppressed. A flapping server gets one line a minute. An outage of a flapping server gets its own
 * lines, including its end, only if it outlasts the grace period and no flapping line was written in the last minute.
 */
export class OutageLog {
  private outage: CurrentOutage | undefined;
  private timer: Timer | undefined;
  private readonly flaps: LogLimiter<EventOf<'outage-start'>>;
  /** Number of calls affected by flapping outages since the last flapping line. */
  private flapCalls = { ...NO_CALLS };
  /** Time of the last outage warning. */
  private reportedAt = -Infinity;
  /** Time of the last line about a flapping outage. */
  private flapLoggedAt = -Infinity;

  constructor(
    private readonly target: string,
    private readonly impact: () => OutageImpact,
    private readonly write: WriteLine,
    private readonly clock: Clock,
  ) {
    this.flaps = new LogLimiter(clock, (start, repeats) => {
      this.logFlapping(start, repeats);
    });
  }

  started(start: EventOf<'outage-start'>): void {
    const { flapping, graceMs } = start;
    const cause = this.causeOf(start);
    const startedAt = this.clock.now();
    const skipsWaitWarning = flapping || startedAt - this.reportedAt < LOG_INTERVAL_MS;
    this.outage = { start, startedAt, failedBefore: this.impact().failed, reported: false, skipsWaitWarning };
    this.write('debug', `outage: ${cause}`, { event: 'outage-start', ...this.fieldsOf(start), flapping });
    if (flapping) this.flaps.log(FLAPPING, start);
    this.scheduleCheck(skipsWaitWarning ? Math.max(graceMs, OUTAGE_WARNING_DELAY_MS) : OUTAGE_WARNING_DELAY_MS);
  }

  ended({ durationMs, connectAttempts, waitedCalls, abandonedCalls, failedCalls }: EventOf<'outage-end'>): void {
    const { outage } = this;
    this.outage = undefined;
    this.timer?.clear();
    const isFlap = this.flaps.isLimiting(FLAPPING) && outage?.start.flapping === true;
    if (isFlap) {
      this.flapCalls.waitedCalls += waitedCalls;
      this.flapCalls.abandonedCalls += abandonedCalls;
      this.flapCalls.failedCalls += failedCalls;
    }
    if (outage?.reported === true && outage.start.flapping) this.flapLoggedAt = this.clock.now();
    // The second case covers, for example, calls that failed right before the outage ended.
    const isNotable =
      outage?.reported === true ||
      (!isFlap && abandonedCalls + failedCalls > 0 && durationMs >= OUTAGE_WARNING_DELAY_MS);
    this.write(
      isNotable ? 'log' : 'debug',
      `reconnected after ${duration(durationMs)}, ${counted(connectAttempts, 'failed attempt')}; ${callsOf(waitedCalls, abandonedCalls, failedCalls)}`,
      {
        event: 'outage-end',
        target: this.target,
        durationMs: Math.round(durationMs),
        connectAttempts,
        waitedCalls,
        abandonedCalls,
        failedCalls,
      },
    );
  }

  /** Clears all timers. */
  close(): void {
    this.timer?.clear();
    this.flaps.clear();
  }

  private scheduleCheck(ms: number): void {
    this.timer?.clear();
    this.timer = this.clock.setTimer(this.check, ms);
  }

  private readonly check = (): void => {
    const { outage } = this;
    if (outage === undefined) return;
    const { waiting, failed: failedSoFar } = this.impact();
    const failed = failedSoFar - outage.failedBefore;
    if (!outage.reported && waiting === 0 && failed === 0) {
      this.scheduleCheck(OUTAGE_WARNING_DELAY_MS);
      return;
    }
    const { start, startedAt } = outage;
    if (start.flapping) {
      const quietMs = this.flapLoggedAt + LOG_INTERVAL_MS - this.clock.now();
      if (quietMs > 0) {
        this.scheduleCheck(quietMs);
        return;
      }
      this.flapLoggedAt = this.clock.now();
    }
    outage.reported = true;
    this.reportedAt = this.clock.now();
    const ageMs = this.reportedAt - startedAt;
    if (outage.skipsWaitWarning || ageMs >= start.graceMs) {
      this.logGraceOver(start, ageMs);
      return;
    }
    outage.skipsWaitWarning = true;
    // Calls with `waitForReady: false` fail even during the grace period.
    const also = failed === 0 ? '' : `, ${String(failed)} failed`;
    this.write(
      'warn',
      `outage: ${this.causeOf(start)}; calls wait up to ${duration(start.graceMs)} (${String(waiting)} waiting${also})`,
      { event: 'outage', ...this.fieldsOf(start), waiting, failed },
    );
    this.scheduleCheck(start.graceMs - ageMs);
  };

  private logGraceOver(start: EventOf<'outage-start'>, ageMs: number): void {
    this.write(
      'warn',
      `no connection for ${duration(ageMs)}: ${this.causeOf(start)}; calls fail immediately (UNAVAILABLE); ${REMEDY}`,
      { event: 'outage-grace-over', ...this.fieldsOf(start), durationMs: Math.round(ageMs) },
    );
  }

  /** Logs the first flapping outage of a minute, or a summary of its `repeats`. */
  private logFlapping(start: EventOf<'outage-start'>, repeats: number): void {
    const { waitedCalls, abandonedCalls, failedCalls } = this.flapCalls;
    this.flapCalls = { ...NO_CALLS };
    if (repeats > 0) {
      this.write(
        'warn',
        `flapping: ${counted(repeats, 'more outage')} in the last minute; ${callsOf(waitedCalls, abandonedCalls, failedCalls)}`,
        { event: 'flapping', target: this.target, outages: repeats, waitedCalls, abandonedCalls, failedCalls },
      );
      return;
    }
    this.flapLoggedAt = this.clock.now();
    this.write(
      'warn',
      `flapping: ${counted(flapCount, 'outage')} in a minute (${this.causeOf(start)}); they share one grace period, after which calls fail ` +
        'immediately; check whether the server keeps restarting or a proxy closes its connections',
      { event: 'flapping', ...this.fieldsOf(start), outages: flapCount },
    );
  }

  private fieldsOf({ cause, graceMs }: EventOf<'outage-start'>): LogFields {
    return { target: this.target, cause: oneLine(cause), graceMs: Math.round(graceMs) };
  }

  /** Returns the cause, prefixed with the target if the cause does not contain it. A bare IP address does not identify the service. */
  private causeOf({ cause }: EventOf<'outage-start'>): string {
    return cause.includes(this.target) ? oneLine(cause) : `${this.target}: ${oneLine(cause)}`;
  }
}

function callsOf(waited: number, abandoned: number, failed: number): string {
  return `${counted(waited, 'call')} waited${abandoned === 0 ? '' : `, ${String(abandoned)} abandoned`}, ${String(failed)} failed`;
}
