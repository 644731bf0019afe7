import type { GrpcClientEvent } from '../../call/call-event.js';
import { DEFAULT_OUTAGE_POLICY } from '../../policy/outage/next-outage.js';
import type { Clock, Timer } from '../../time/clock.js';
import {
  CLIENT_LINES,
  type ClientLogEvent,
  type EventOf,
  type LoggedTarget,
  type OutageCause,
} from './client-lines.js';
import { EventLog } from './event-log.js';
import { LOG_INTERVAL_MS } from './log-limiter.js';
import type { LogSink } from './log-line.js';

/** Maximum number of lines per minute, besides those about outages. */
const MAX_LINES = 4;
/** Maximum number of these lines during the minute after an outage starts or ends, when most events have the same cause. */
const MAX_LINES_WHILE_UNSTABLE = 1;
/** Minimum age, in milliseconds, of an outage that gets its own warning. Outages during ordinary restarts are usually shorter. */
const OUTAGE_WARNING_DELAY_MS = 1_500;
const NO_FLAPS = { outages: DEFAULT_OUTAGE_POLICY.flapCount - 1, waitedCalls: 0, abandonedCalls: 0, failedCalls: 0 };

export interface LoggedClient extends LoggedTarget {
  /** Returns the current state of the channel and of its calls, for the lines about outages. */
  readonly impact: () => OutageImpact;
}

/** Calls affected by an outage, and its latest cause. */
export interface OutageImpact {
  /** The latest failed or slow attempt to connect; `undefined` if the channel is connected, or if there was no such attempt. */
  readonly failure?: Pick<OutageCause, 'cause' | 'kind' | 'remedy'> | undefined;
  /** True if the channel is READY. The outage then lasts until a response arrives, or until the connection has been open for a second. */
  readonly isConnected: boolean;
  readonly waiting: number;
  /** True if the client's `waitForReady()`, which is not a call, is waiting. */
  readonly awaitsReady?: boolean | undefined;
  /** Total number of calls of the client that failed because no connection was available. */
  readonly failed: number;
}

type OutageStart = Extract<GrpcClientEvent, { readonly type: 'outage-start' }>;

interface CurrentOutage {
  readonly start: OutageStart;
  readonly startedAt: number;
  /** Value of `OutageImpact.failed` when the outage started. */
  readonly failedBefore: number;
  readonly warningDelayMs: number;
  /** True if the warning that calls are waiting has been logged or must be skipped. */
  skipsWaitWarning: boolean;
  /** True if a call has failed because the grace period is over. */
  isGraceOver: boolean;
  /** The latest line above debug level. */
  reported?: 'outage' | 'outage-grace-over';
}

/**
 * Writes the log lines of one client. An outage gets at most three lines above debug level. The first is a warning when the outage is at
 * least 1.5 s old, if a call or `waitForReady()` is waiting, or a call has failed. The second is a warning when the grace period is over and
 * calls fail. The third reports the end of the outage. An outage that starts within a minute of an outage warning gets only the second and
 * third lines. A flapping server gets one line a minute; one of its outages gets the second and third lines only if it lasts a minute.
 */
export class ClientLog {
  private readonly log: EventLog<ClientLogEvent, LoggedTarget>;
  private unstableUntil = 0;
  private outage: CurrentOutage | undefined;
  private timer: Timer | undefined;
  private reportedAt = -Infinity;
  /** Numbers of outages and calls since the server began to flap. */
  private flaps = { ...NO_FLAPS };

  constructor(
    sink: LogSink,
    private readonly client: LoggedClient,
    private readonly clock: Clock,
  ) {
    const maxLines = () => (clock.now() < this.unstableUntil ? MAX_LINES_WHILE_UNSTABLE : MAX_LINES);
    this.log = new EventLog<ClientLogEvent, LoggedTarget>(CLIENT_LINES, client, sink, clock, maxLines);
  }

  take(event: GrpcClientEvent): void {
    if (event.type === 'outage-start') this.started(event);
    else if (event.type === 'outage-grace-over') this.graceEnded();
    else if (event.type === 'outage-end') this.ended(event);
    else this.log.take(event);
  }

  close(): void {
    this.timer?.clear();
    this.log.close();
  }

  private started(start: OutageStart): void {
    const { flapping, graceMs } = start;
    const startedAt = this.clock.now();
    this.unstableUntil = startedAt + LOG_INTERVAL_MS;
    const skipsWaitWarning = flapping || startedAt - this.reportedAt < LOG_INTERVAL_MS;
    const warningDelayMs = flapping ? LOG_INTERVAL_MS : OUTAGE_WARNING_DELAY_MS;
    const failedBefore = this.client.impact().failed;
    this.outage = { start, startedAt, failedBefore, warningDelayMs, skipsWaitWarning, isGraceOver: false };
    this.log.write(this.explained(start));
    if (flapping) {
      this.flaps.outages += 1;
      this.log.take({ ...this.explained(start), ...this.flaps, type: 'flapping' });
    } else this.flaps = { ...NO_FLAPS };
    this.scheduleCheck(Math.max(warningDelayMs, skipsWaitWarning ? graceMs : 0));
  }

  /** Logs at once if the outage is old enough for a warning, because the process may exit as soon as a call fails. */
  private graceEnded(): void {
    const { outage } = this;
    if (outage === undefined) return;
    outage.isGraceOver = true;
    if (this.clock.now() - outage.startedAt >= outage.warningDelayMs) this.check();
  }

  private ended(end: EventOf<'outage-end'>): void {
    const { outage } = this;
    const { durationMs, waitedCalls, abandonedCalls, failedCalls } = end;
    this.outage = undefined;
    this.timer?.clear();
    this.unstableUntil = this.clock.now() + LOG_INTERVAL_MS;
    this.flaps.waitedCalls += waitedCalls;
    this.flaps.abandonedCalls += abandonedCalls;
    this.flaps.failedCalls += failedCalls;
    // Calls can also fail, for example, right before the outage ends.
    const isNotable =
      abandonedCalls + failedCalls > 0 && durationMs >= (outage?.warningDelayMs ?? OUTAGE_WARNING_DELAY_MS);
    this.log.write(end, isNotable || outage?.reported !== undefined ? 'log' : 'debug');
  }

  private scheduleCheck(ms: number): void {
    this.timer?.clear();
    this.timer = this.clock.setTimer(this.check, ms);
  }

  private readonly check = (): void => {
    const { outage } = this;
    if (outage === undefined || outage.reported === 'outage-grace-over') return;
    const { start, startedAt, failedBefore, isGraceOver, skipsWaitWarning } = outage;
    const { waiting, awaitsReady = false, failed: failedSoFar, isConnected } = this.client.impact();
    const failed = failedSoFar - failedBefore;
    // Until the grace period is over, postpones the warning while nothing waits and no call has failed. Also postpones it while the channel
    // is connected, because the outage is then about to end.
    if (!isGraceOver && (isConnected || (waiting === 0 && failed === 0 && !awaitsReady))) {
      this.scheduleCheck(OUTAGE_WARNING_DELAY_MS);
      return;
    }
    this.reportedAt = this.clock.now();
    const durationMs = this.reportedAt - startedAt;
    if (isGraceOver || skipsWaitWarning || durationMs >= start.graceMs) {
      outage.reported = 'outage-grace-over';
      this.log.write({ ...this.explained(start), type: outage.reported, durationMs });
      return;
    }
    outage.reported = 'outage';
    outage.skipsWaitWarning = true;
    this.log.write({ ...this.explained(start), type: outage.reported, waiting, failed });
    this.scheduleCheck(start.graceMs - durationMs);
  };

  private explained(start: OutageStart): EventOf<'outage-start'> {
    const { target, doctorCommand, impact } = this.client;
    return { ...start, ...impact().failure, target, doctorCommand };
  }
}
