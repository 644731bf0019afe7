import type { GrpcClientEvent } from '../../call/call-event.js';
import { statusName } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { LogLimiter, lastMinute } from './log-limiter.js';
import type { EventFields } from './log-line.js';
import { counted, duration, listed, oneLine } from './log-text.js';

type AttemptEndEvent = Extract<GrpcClientEvent, { readonly type: 'attempt-end' }>;

/** Maximum number of method and reason pairs listed in a summary. */
const MAX_LISTED_KINDS = 5;

/** Describes a failed attempt: method, server address, status. */
export function attemptText({ path, attempt }: AttemptEndEvent): string {
  const peer = attempt.peer === undefined ? '' : ` at ${attempt.peer}`;
  return `${path}${peer}: ${statusName(attempt.code)}: ${oneLine(attempt.details)}`;
}

export function attemptFields({ path, attempt, reachedServer, next, reason }: AttemptEndEvent): EventFields {
  const { code, peer, number, durationMs, superseded } = attempt;
  return {
    event: 'attempt-end',
    path,
    code: statusName(code),
    details: oneLine(attempt.details),
    peer,
    attempt: number,
    durationMs: Math.round(durationMs),
    superseded: superseded || undefined,
    reachedServer,
    next,
    reason,
  };
}

/**
 * Logs failed calls that may have had an effect on the server and were not retried. An operator may have to check these calls. Also logs
 * calls that lost their connection or were reset after the response had started. The first call is logged immediately. Later calls are
 * counted by method and reason and logged once a minute, until a minute passes without such a call.
 */
export class UnretriedCalls {
  /** Number of calls since the last line, by method and reason. */
  private readonly counts = new Map<string, number>();
  /** Method and reason of the last line; `undefined` before the first line, or if the last line covered several methods or reasons. */
  private lastKind: string | undefined;
  private readonly limiter: LogLimiter<AttemptEndEvent>;

  constructor(
    private readonly write: (text: string, fields: EventFields) => void,
    clock: Clock,
  ) {
    this.limiter = new LogLimiter(clock, (latest, repeats, _isOfOthers, ageMs) => {
      this.writeLine(latest, repeats, ageMs);
    });
  }

  failed(event: AttemptEndEvent): void {
    const kind = kindOf(event);
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    // The key is the same for all kinds, so that they share one limit and one summary line.
    this.limiter.log('', event);
  }

  /** Logs the pending summary and clears the timer. */
  close(): void {
    this.limiter.close();
  }

  private writeLine(latest: AttemptEndEvent, count: number, ageMs: number): void {
    const kinds = [...this.counts];
    this.counts.clear();
    if (kinds.length > 1) {
      this.lastKind = undefined;
      const text =
        `${counted(count, 'more call')} in the last minute may have reached the server and were not retried: ` +
        `${mostFrequent(kinds)}; latest${ageMs < 1_000 ? '' : `, ${duration(ageMs)} ago`}: ${attemptText(latest)}`;
      this.write(text, { ...attemptFields(latest), repeats: count });
      return;
    }
    const kind = kindOf(latest);
    // If the method or reason differs from that of the last line, this line is the first to describe the call, so the call is not one of
    // the repeats.
    const repeats = kind === this.lastKind ? count : Math.max(0, count - 1);
    this.lastKind = kind;
    const age = ageMs < 1_000 ? '' : ` (${duration(ageMs)} ago)`;
    const suffix = repeats === 0 ? age : ` (${String(repeats)} more ${lastMinute(ageMs)})`;
    this.write(`${unretriedText(latest)}${suffix}`, {
      ...attemptFields(latest),
      ...(repeats > 0 && { repeats }),
    });
  }
}

const kindOf = ({ path, reason }: AttemptEndEvent): string => `${path} (${reason})`;

function unretriedText(event: AttemptEndEvent): string {
  if (event.reachedServer === 'yes')
    return `${attemptText(event)}; neither retried nor resumed; to continue a stream after a lost connection or a reset, use resumable() from nestjs-resilient-grpc/operators`;
  const remedy =
    event.reason === 'not-safe-to-repeat'
      ? '; check whether it took effect, or declare the method idempotent if it is safe to repeat'
      : '';
  return `${attemptText(event)}; the call may have reached the server and was not retried (${event.reason})${remedy}`;
}

function mostFrequent(kinds: readonly (readonly [kind: string, count: number])[]): string {
  const most = [...kinds].sort(([, a], [, b]) => b - a);
  const named = most.map(([kind, count]) => `${String(count)} to ${kind}`);
  return listed(named, MAX_LISTED_KINDS, (count) =>
    counted(count, 'more method and reason', 'more methods and reasons'),
  );
}
