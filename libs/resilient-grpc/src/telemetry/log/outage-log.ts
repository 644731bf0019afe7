import type { GrpcClientEvent } from '../../call/call-event.js';
import { withDoctor } from '../../policy/connect-failure/doctor-command.js';
import { DEFAULT_OUTAGE_POLICY } from '../../policy/outage/next-outage.js';
import type { Clock, Timer } from '../../time/clock.js';
import { LOG_INTERVAL_MS, LogLimiter } from './log-limiter.js';
import type { EventFields, LogFields, LogLevel } from './log-line.js';
import { counted, duration, oneLine } from './log-text.js';

type EventOf<T extends GrpcClientEvent['type']> = Extract<GrpcClientEvent, { readonly type: T }>;

/**
 * Minimum age, in milliseconds, of an outage that gets its own warning. Outages during ordinary restarts are usually shorter. For example,
 * if connections were refused for one second and a call is waiting, the client reconnects within 0.4 s after the server accepts connections
 * again.
 */
const OUTAGE_WARNING_DELAY_MS = 1_500;
const FLAPPING = 'flapping';
const { flapCount } = DEFAULT_OUTAGE_POLICY;
/** Log text used if only `waitForReady()` is waiting. */
export const ONLY_READY_WAITS = 'only waitForReady() is waiting';
const NO_CALLS = { waitedCalls: 0, abandonedCalls: 0, failedCalls: 0 };

/** Explanation of the latest failed or slow attempt to connect. */
export interface LoggedFailure {
  readonly cause: string;
  readonly kind: string;
  readonly remedy: string;
}

/** Calls affected by an outage, and its latest cause. */
export interface OutageImpact {
  /** The latest failed or slow attempt to connect; `undefined` if the channel is connected, or if there was no such attempt. */
  readonly failure?: LoggedFailure | undefined;
  /** True if the channel is READY. The outage then lasts until a response arrives, or until the connection has been open for a second. */
  readonly isConnected: boolean;
  /** Number of calls that are waiting for the channel. */
  readonly waiting: number;
  /** True if the client's `waitForReady()`, which is not a call, is waiting. */
  readonly awaitsReady?: boolean | undefined;
  /** Total number of calls of the client that failed because no connection was available. */
  readonly failed: number;
}

/** Writes one log line about an outage. */
export type WriteLine = (level: Exclude<LogLevel, 'error'>, text: string, fields: EventFields) => void;

interface CurrentOutage {
  readonly start: EventOf<'outage-start'>;
  readonly startedAt: number;
  /** Value of `OutageImpact.failed` when the outage started. */
  readonly failedBefore: number;
  reported: boolean;
  /** True if the warning that calls are waiting has been logged or must be skipped. */
  skipsWaitWarning: boolean;
  /** True if a call has failed because the grace period is over. */
  isGraceOver: boolean;
  /** True if the warning that calls fail has been logged. */
  isGraceOverLogged: boolean;
}

/**
 * Writes the log lines of outages. An outage gets at most three lines above debug level. The first is a warning when the outage is at least
 * 1.5 s old, if a call or `waitForReady()` is waiting, or a call has failed. The second is a warning when the grace period is over and
 * calls fail. The third reports the end of the outage. An outage that starts within a minute of an outage warning gets only the second and
 * third lines. A flapping server gets one line a minute. An outage of a flapping server gets its own second and third lines only if the
 * outage outlasts the grace period. These lines are written at least a minute after both the first flapping line and the lines of an
 * earlier flapping outage.
 */
export class OutageLog {
  private outage: CurrentOutage | undefined;
  private timer: Timer | undefined;
  private readonly flaps: LogLimiter<EventOf<'outage-start'>>;
  /** Numbers of calls affected by flapping outages since the last flapping line. */
  private flapCalls = { ...NO_CALLS };
  /** Time of the last outage warning. */
  private reportedAt = -Infinity;
  /** Time of the last line about a flapping outage, except the summaries. */
  private flapLoggedAt = -Infinity;

  constructor(
    private readonly target: string,
    private readonly impact: () => OutageImpact,
    /** Shell command that examines the target; `undefined` if absent. */
    private readonly doctorCommand: string | undefined,
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
    this.outage = {
      start,
      startedAt,
      failedBefore: this.impact().failed,
      reported: false,
      skipsWaitWarning,
      isGraceOver: false,
      isGraceOverLogged: false,
    };
    this.write('debug', `outage: ${cause}`, { event: 'outage-start', ...this.fieldsOf(start), flapping });
    if (flapping) this.flaps.log(FLAPPING, start);
    this.scheduleCheck(skipsWaitWarning ? Math.max(graceMs, OUTAGE_WARNING_DELAY_MS) : OUTAGE_WARNING_DELAY_MS);
  }

  /**
   * Handles 'outage-grace-over'. Logs at once if the outage is old enough for a warning, because the process may exit as soon as a call
   * fails.
   */
  graceEnded(): void {
    const { outage } = this;
    if (outage === undefined) return;
    outage.isGraceOver = true;
    if (this.clock.now() - outage.startedAt >= OUTAGE_WARNING_DELAY_MS) this.check();
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
    // The second condition covers, for example, calls that failed right before the outage ended.
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
    if (outage === undefined || outage.isGraceOverLogged) return;
    const { waiting, awaitsReady = false, failed: failedSoFar, isConnected } = this.impact();
    const failed = failedSoFar - outage.failedBefore;
    // Until the grace period is over, postpones the warning while nothing waits and no call has failed. Also postpones it while the channel
    // is connected, because the outage is then about to end.
    if (!outage.isGraceOver && (isConnected || (waiting === 0 && failed === 0 && !awaitsReady))) {
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
    if (outage.isGraceOver || outage.skipsWaitWarning || ageMs >= start.graceMs) {
      outage.isGraceOverLogged = true;
      this.logGraceOver(start, ageMs);
      return;
    }
    outage.skipsWaitWarning = true;
    // Adds the number of failed calls, because calls with `waitForReady: false` fail even during the grace period.
    const also = failed === 0 ? '' : `, ${String(failed)} failed`;
    const wait =
      waiting === 0
        ? failed === 0
          ? ONLY_READY_WAITS
          : `${counted(failed, 'call')} failed, and none is waiting`
        : `calls wait up to ${duration(start.graceMs)} or until their deadline (${String(waiting)} waiting${also})`;
    this.write('warn', `outage: ${this.causeOf(start)}${this.remedy}; ${wait}${this.diagnosis}`, {
      event: 'outage',
      ...this.fieldsOf(start),
      waiting,
      failed,
    });
    this.scheduleCheck(start.graceMs - ageMs);
  };

  private logGraceOver(start: EventOf<'outage-start'>, ageMs: number): void {
    this.write(
      'warn',
      `outage has lasted ${duration(ageMs)}: ${this.causeOf(start)}; calls without waitForReady fail immediately (UNAVAILABLE)${this.remedy || '; check the server'}; ` +
        `the client keeps trying to reconnect${this.diagnosis}`,
      { event: 'outage-grace-over', ...this.fieldsOf(start), durationMs: Math.round(ageMs) },
    );
  }

  /** Logs a flapping outage, or a summary of the `repeats` in the last minute. */
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

  private fieldsOf(start: EventOf<'outage-start'>): LogFields {
    const { failure } = this.impact();
    return {
      target: this.target,
      cause: oneLine(failure?.cause ?? start.cause),
      ...(failure && { kind: failure.kind, remedy: failure.remedy }),
      ...(this.doctorCommand !== undefined && { doctorCommand: oneLine(this.doctorCommand) }),
      graceMs: Math.round(start.graceMs),
    };
  }

  /**
   * Returns the latest cause, prefixed with the target if the cause does not contain it, because a bare IP address does not identify the
   * service.
   */
  private causeOf(start: EventOf<'outage-start'>): string {
    const cause = this.impact().failure?.cause ?? start.cause;
    return cause.includes(this.target) ? oneLine(cause) : `${this.target}: ${oneLine(cause)}`;
  }

  /** Returns '; ' and the remedy; '' if no remedy is known. */
  private get remedy(): string {
    const { failure } = this.impact();
    return failure === undefined ? '' : `; ${failure.remedy}`;
  }

  /** Returns '; ' and the command that examines the target; '' if absent. */
  private get diagnosis(): string {
    return oneLine(withDoctor('', this.doctorCommand));
  }
}

function callsOf(waited: number, abandoned: number, failed: number): string {
  const were = abandoned === 1 ? 'was' : 'were';
  const ended = abandoned === 0 ? '' : `, ${String(abandoned)} timed out or ${were} cancelled`;
  return `${counted(waited, 'call')} waited${ended}, ${String(failed)} failed`;
}
