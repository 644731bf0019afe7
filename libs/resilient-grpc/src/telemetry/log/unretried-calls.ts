import type { GrpcClientEvent } from '../../call/call-event.js';
import { statusName } from '../../status/status-code.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { LogFields } from './log-line.js';
import { counted, oneLine } from './log-text.js';

type AttemptEndEvent = Extract<GrpcClientEvent, { readonly type: 'attempt-end' }>;

const SUMMARY_MS = 60_000;
/** Maximum number of method and reason pairs listed in a summary. */
const MAX_LISTED_PATHS = 5;

/** Describes a failed attempt: method, server address, status. */
export function attemptText({ path, attempt }: AttemptEndEvent): string {
  const peer = attempt.peer === undefined ? '' : ` at ${attempt.peer}`;
  return `${path}${peer}: ${statusName(attempt.code)}: ${oneLine(attempt.details)}`;
}

export function attemptFields({ path, attempt, reachedServer, next, reason }: AttemptEndEvent): LogFields {
  const { code, peer, number, durationMs, hedge } = attempt;
  return {
    event: 'attempt-end',
    path,
    code: statusName(code),
    details: oneLine(attempt.details),
    peer,
    attempt: number,
    durationMs: Math.round(durationMs),
    hedge: hedge || undefined,
    reachedServer,
    next,
    reason,
  };
}

/**
 * Logs failed calls that may have had an effect on the server and were not retried, because an operator may have to check them. The
 * first is logged immediately. Further ones are counted by method and reason and logged once a minute, until a minute passes without any.
 */
export class UnretriedCalls {
  private counts = new Map<string, number>();
  private latest: AttemptEndEvent | undefined;
  private timer: Timer | undefined;

  constructor(
    private readonly write: (text: string, fields: LogFields) => void,
    private readonly clock: Clock,
  ) {}

  failed(event: AttemptEndEvent): void {
    if (this.timer === undefined) {
      this.write(textOf(event), attemptFields(event));
      this.later();
      return;
    }
    const kind = `${event.path} (${event.reason})`;
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    this.latest = event;
  }

  /** Logs the pending summary and clears the timer. */
  close(): void {
    this.timer?.clear();
    this.timer = undefined;
    this.summarize();
  }

  private later(): void {
    this.timer = this.clock.setTimer(() => {
      this.timer = undefined;
      if (this.summarize()) this.later();
    }, SUMMARY_MS);
  }

  private summarize(): boolean {
    const { latest, counts } = this;
    if (latest === undefined) return false;
    this.counts = new Map();
    this.latest = undefined;
    const repeats = [...counts.values()].reduce((sum, count) => sum + count, 0);
    const text =
      counts.size === 1
        ? `${textOf(latest)} (${String(repeats)} more in the last minute)`
        : `${counted(repeats, 'more call')} in the last minute may have reached the server and were not retried: ` +
          `${listed(counts)}; latest: ${attemptText(latest)}`;
    this.write(text, { ...attemptFields(latest), repeats });
    return true;
  }
}

function textOf(event: AttemptEndEvent): string {
  const remedy =
    event.reason === 'not-safe-to-repeat'
      ? '; check whether it took effect, or declare the method idempotent if calls may be sent twice'
      : '';
  return `${attemptText(event)}; the call may have reached the server and was not retried (${event.reason})${remedy}`;
}

function listed(counts: ReadonlyMap<string, number>): string {
  const most = [...counts].sort(([, a], [, b]) => b - a);
  const named = most.slice(0, MAX_LISTED_PATHS).map(([kind, count]) => `${String(count)} to ${kind}`);
  const more =
    most.length > MAX_LISTED_PATHS ? [`${String(most.length - MAX_LISTED_PATHS)} more methods and reasons`] : [];
  return [...named, ...more].join(', ');
}
