import type { GrpcClientEvent } from '../call/call-event.js';
import { StatusCode, statusName } from '../status/status-code.js';
import type { Clock, Timer } from '../time/clock.js';
import { RepeatLimit } from './repeat-limit.js';
import { counted, duration, oneLine } from './log-text.js';

/** Where lines go; Nest's logger is one. */
export interface LogSink {
  debug(message: string): void;
  log(message: string): void;
  warn(message: string): void;
}

type EventOf<T extends GrpcClientEvent['type']> = Extract<GrpcClientEvent, { readonly type: T }>;

/**
 * A younger outage is a restart like any other, and nobody's business at night. A server that is away for a second is found
 * again up to 0.4 s later.
 */
const WORTH_A_WARNING_MS = 1_500;
const SUMMARY_MS = 60_000;

/**
 * What one client writes to the log: an outage is one warning, when it is 1.5 s old and somebody waits, one when its grace
 * is over and calls fail, and one line when it is over; a server that comes and goes is one summary a minute; failures of calls are counted by method and reason.
 */
export class ClientLog {
  private readonly failures: RepeatLimit;
  private outage: { readonly start: EventOf<'outage-start'>; readonly startedAt: number; warned: boolean } | undefined;
  private outageTimer: Timer | undefined;
  private flaps = 0;
  private flapTimer: Timer | undefined;

  /** @param waiting how many calls wait for the channel */
  constructor(
    private readonly sink: LogSink,
    private readonly waiting: () => number,
    private readonly clock: Clock,
  ) {
    this.failures = new RepeatLimit(clock, SUMMARY_MS, (text, count) => {
      sink.warn(`${text} (${String(count)} more in the last minute)`);
    });
  }

  take(event: GrpcClientEvent): void {
    switch (event.type) {
      case 'connectivity':
        this.sink.debug(`${event.from} → ${event.to}${event.cause === undefined ? '' : `: ${oneLine(event.cause)}`}`);
        return;
      case 'outage-start':
        this.outageStarted(event);
        return;
      case 'outage-end':
        this.outageEnded(event);
        return;
      case 'attempt-end':
        this.attemptEnded(event);
        return;
      case 'connection-replaced':
        this.replaced(event);
        return;
      case 'keepalive-throttled':
        this.sink.warn(
          `the server finds the keepalive pings too many (too_many_pings); now every ${duration(event.keepaliveTimeMs)}: ` +
            `set keepalive.keepaliveTimeMs to ${String(event.keepaliveTimeMs)} or more`,
        );
        return;
      case 'throttle-too-small':
        this.sink.warn(
          `serviceConfig.retryThrottling allows no retry: ${String(event.inFlight)} calls are in flight, and a connection that ` +
            `is lost takes a token for each; write maxTokens: ${String(Math.min(1_000, event.inFlight * 3))} or more, or leave it out`,
        );
        return;
      case 'circuit':
        this.circuit(event);
        return;
      case 'drain':
        this.drain(event);
        return;
      case 'stream-resumed':
        this.sink.debug(`${event.path}: resumed after ${duration(event.gapMs)} (${counted(event.resumes, 'time')})`);
        return;
      case 'stream-leak':
        this.streamLeak(event);
        return;
      case 'requests-at-once':
        this.failures.say(
          `${event.path} requests-at-once`,
          `${event.path}: an Observable pushed ${String(event.messages)} requests at once, which are held in memory; ` +
            'give an Iterable or an AsyncIterable, which is pulled',
          (line) => {
            this.sink.warn(line);
          },
        );
        return;
      case 'connection':
      case 'call-start':
      case 'call-end':
        return;
    }
  }

  /** Writes what was counted and not yet said, and leaves no timer behind. */
  close(): void {
    this.failures.close();
    this.stopLater();
    if (this.flapTimer !== undefined) this.clock.clearTimer(this.flapTimer);
  }

  private outageStarted(start: EventOf<'outage-start'>): void {
    this.outage = { start, startedAt: this.clock.now(), warned: false };
    this.sink.debug(`outage: ${oneLine(start.cause)}`);
    if (start.flapping) {
      this.flapped(start);
      return;
    }
    this.later(this.checkOutage, WORTH_A_WARNING_MS);
  }

  private later(task: () => void, ms: number): void {
    this.stopLater();
    this.outageTimer = this.clock.setTimer(() => {
      this.outageTimer = undefined;
      task();
    }, ms);
  }

  private stopLater(): void {
    if (this.outageTimer !== undefined) this.clock.clearTimer(this.outageTimer);
    this.outageTimer = undefined;
  }

  private readonly checkOutage = (): void => {
    const { outage } = this;
    if (outage === undefined || outage.warned) return;
    const waiting = this.waiting();
    if (waiting === 0) {
      this.later(this.checkOutage, WORTH_A_WARNING_MS);
      return;
    }
    outage.warned = true;
    const { cause, graceMs } = outage.start;
    this.sink.warn(`outage: ${oneLine(cause)}; calls wait up to ${duration(graceMs)} (${String(waiting)} waiting)`);
    const left = outage.startedAt + graceMs - this.clock.now();
    if (left > 0) this.later(this.checkGrace, left);
  };

  private readonly checkGrace = (): void => {
    if (this.outage === undefined) return;
    this.sink.warn(
      `no connection within ${duration(this.outage.start.graceMs)}: calls fail at once until there is one`,
    );
  };

  private outageEnded(end: EventOf<'outage-end'>): void {
    const warned = this.outage?.warned === true;
    this.outage = undefined;
    this.stopLater();
    const calls = `${counted(end.held, 'call')} held, ${String(end.failed)} failed`;
    const line = `back after ${duration(end.durationMs)}, ${counted(end.tries, 'try', 'tries')}; ${calls}`;
    if (warned) this.sink.log(line);
    else this.sink.debug(line);
  }

  /** The first of a minute is told at once, the rest together. */
  private flapped(start: EventOf<'outage-start'>): void {
    this.flaps += 1;
    if (this.flapTimer !== undefined) return;
    this.sink.warn(
      `flapping: three outages in a minute (${oneLine(start.cause)}); they share one grace, then calls fail at once`,
    );
    this.flaps = 0;
    this.flapTimer = this.clock.setTimer(this.summarizeFlaps, SUMMARY_MS);
  }

  private readonly summarizeFlaps = (): void => {
    this.flapTimer = undefined;
    // After a quiet minute the next is told at once again.
    if (this.flaps === 0) return;
    this.sink.warn(`flapping: ${String(this.flaps)} more outages in the last minute`);
    this.flaps = 0;
    this.flapTimer = this.clock.setTimer(this.summarizeFlaps, SUMMARY_MS);
  };

  private attemptEnded(event: EventOf<'attempt-end'>): void {
    const { path, attempt, next, because, reachedServer } = event;
    if (attempt.code === StatusCode.OK) return;
    const text = `${path}: ${statusName(attempt.code)}: ${oneLine(attempt.details)}`;
    if (next !== 'none') {
      this.sink.debug(`${text}; ${next === 'wait' ? 'waits' : 'is retried'} (${because})`);
      return;
    }
    // The outage has a line of its own, and what a server answers is its callers' matter.
    if (reachedServer !== 'maybe' || because === 'cancelled' || because === 'deadline') return;
    this.failures.say(
      `${path} ${because}`,
      `${text}; it may have reached the server and was not repeated (${because})`,
      (line) => {
        this.sink.warn(line);
      },
    );
  }

  private replaced(event: EventOf<'connection-replaced'>): void {
    if (event.reason !== 'suspicion') {
      this.sink.debug(`connection replaced: ${event.reason === 'age' ? 'it was old enough' : 'new credentials'}`);
      return;
    }
    const { address, silentMs, timeouts, by } = event;
    const carried =
      by === 'new-channel'
        ? 'calls go over a new one that is READY'
        : 'calls go to the other backends until it can be connected again';
    this.sink.warn(
      `dead connection to ${address} ended: no byte for ${duration(silentMs)}, ${counted(timeouts, 'call')} timed out, and a ` +
        `probe got no answer; ${carried}`,
    );
  }

  private circuit({ path, to, failures, total, breakMs }: EventOf<'circuit'>): void {
    if (to === 'open') {
      const share = `${String(failures)} of ${String(total)} attempts failed`;
      this.sink.warn(`${path}: circuit open for ${duration(breakMs)}: ${share}; its calls fail at once`);
    } else if (to === 'closed') {
      this.sink.log(`${path}: circuit closed; calls pass again`);
    } else {
      this.sink.debug(`${path}: circuit half open; one call is let through`);
    }
  }

  /** One line for each place: a leak is seldom of one stream. */
  private streamLeak({ path, openMs, unreadMs, openedAt }: EventOf<'stream-leak'>): void {
    const place =
      openedAt === undefined ? 'set traceStreams: true to see where it was opened' : `opened at ${openedAt}`;
    this.failures.say(
      `${path} stream-leak ${openedAt ?? ''}`,
      `${path}: open for ${duration(openMs)}, and nobody has read it for ${duration(unreadMs)}; ${place}`,
      (line) => {
        this.sink.warn(line);
      },
    );
  }

  private drain(event: EventOf<'drain'>): void {
    if (event.phase === 'begin') {
      this.sink.debug(`draining: ${counted(event.running, 'call')} running`);
      return;
    }
    const cut = event.cancelled === 0 ? '' : `, ${String(event.cancelled)} cut off`;
    const completed = event.completed === 0 ? '' : `, ${counted(event.completed, 'stream')} completed`;
    const line = `drained in ${duration(event.durationMs)}: ${counted(event.finished, 'call')} finished${completed}${cut}`;
    if (event.cancelled === 0) this.sink.debug(line);
    else this.sink.warn(line);
  }
}
