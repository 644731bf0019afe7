import type { GrpcClientEvent } from '../../call/call-event.js';
import { statusName } from '../../status/status-code.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { LogFields } from './log-line.js';
import { counted, oneLine } from './log-text.js';

type AttemptEnd = Extract<GrpcClientEvent, { readonly type: 'attempt-end' }>;

const SUMMARY_MS = 60_000;
/** Methods and reasons that a summary names. */
const NAMED = 5;

/** An attempt that failed, in words: of which method, at which server, with what. */
export function attemptText({ path, attempt }: AttemptEnd): string {
  const peer = attempt.peer === undefined ? '' : ` at ${attempt.peer}`;
  return `${path}${peer}: ${statusName(attempt.code)}: ${oneLine(attempt.details)}`;
}

export function attemptFields({ path, attempt, reachedServer, next, because }: AttemptEnd): LogFields {
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
    because,
  };
}

/**
 * Calls that may have had an effect and were not repeated: what a person may have to look after. The first is told at once. The
 * others are counted by method and reason, and told once a minute, until a minute has passed without any.
 */
export class UnrepeatedCalls {
  private counts = new Map<string, number>();
  private latest: AttemptEnd | undefined;
  private timer: Timer | undefined;

  constructor(
    private readonly tell: (text: string, fields: LogFields) => void,
    private readonly clock: Clock,
  ) {}

  failed(event: AttemptEnd): void {
    if (this.timer === undefined) {
      this.tell(textOf(event), attemptFields(event));
      this.later();
      return;
    }
    const kind = `${event.path} (${event.because})`;
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    this.latest = event;
  }

  /** Tells what was counted and not yet told, and leaves no timer behind. */
  close(): void {
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
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
        : `${counted(repeats, 'more call')} may have reached the server and were not repeated, in the last minute: ` +
          `${listed(counts)}; the latest: ${attemptText(latest)}`;
    this.tell(text, { ...attemptFields(latest), repeats });
    return true;
  }
}

function textOf(event: AttemptEnd): string {
  const cure =
    event.because === 'not-safe-to-repeat'
      ? '; look whether it was done, or declare it idempotent if it may be sent twice'
      : '';
  return `${attemptText(event)}; it may have reached the server and was not repeated (${event.because})${cure}`;
}

function listed(counts: ReadonlyMap<string, number>): string {
  const most = [...counts].sort(([, a], [, b]) => b - a);
  const named = most.slice(0, NAMED).map(([kind, count]) => `${String(count)} of ${kind}`);
  const more = most.length > NAMED ? [`${String(most.length - NAMED)} more methods and reasons`] : [];
  return [...named, ...more].join(', ');
}
