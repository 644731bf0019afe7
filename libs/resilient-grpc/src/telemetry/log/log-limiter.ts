import type { Clock, Timer } from '../../time/clock.js';
import { LogLine } from './log-line.js';
import { duration } from './log-text.js';

/** Interval in milliseconds over which the lines of a kind are limited and summarized. */
export const LOG_INTERVAL_MS = 60_000;

/** The shared key of all kinds beyond the maximum. */
const OTHERS = Symbol('others');
type Kind = string | typeof OTHERS;

interface LimitedKind<Entry> {
  latest: Entry;
  latestAt: number;
  /** Number of entries since the last line. */
  suppressed: number;
  /** Times of the lines within the last interval. */
  writtenAt: readonly number[];
  timer: Timer | undefined;
  /** Time for which the timer is set. */
  dueAt: number;
}

/**
 * Limits the log lines of each kind to `maxLines` per interval (1 by default). Writes an entry immediately if the limit allows it.
 * Otherwise, counts the entry, and writes one line for all counted entries as soon as the limit allows it.
 */
export class LogLimiter<Entry> {
  private readonly kinds = new Map<Kind, LimitedKind<Entry>>();
  private readonly maxKinds: number;
  private readonly maxLines: () => number;

  /**
   * @param write receives the latest entry of a kind, the number of suppressed entries (0 if the entry is written immediately), true for
   * the kinds beyond `maxKinds`, and the age of the entry in milliseconds
   * @param options.maxKinds the maximum number of kinds tracked separately; all further kinds share one limit
   * @param options.maxLines returns the current maximum number of lines per kind and interval
   */
  constructor(
    private readonly clock: Clock,
    private readonly write: (latest: Entry, repeats: number, isOfOthers: boolean, ageMs: number) => void,
    { maxKinds = Infinity, maxLines = () => 1 }: { readonly maxKinds?: number; readonly maxLines?: () => number } = {},
  ) {
    this.maxKinds = maxKinds;
    this.maxLines = maxLines;
  }

  log(kind: string, entry: Entry): void {
    const key = this.kinds.has(kind) || this.kinds.size < this.maxKinds ? kind : OTHERS;
    const now = this.clock.now();
    const limited = this.kinds.get(key) ?? {
      latest: entry,
      latestAt: now,
      suppressed: 0,
      writtenAt: [],
      timer: undefined,
      dueAt: 0,
    };
    this.kinds.set(key, limited);
    limited.latest = entry;
    limited.latestAt = now;
    if (limited.suppressed === 0 && this.allowedAt(limited) <= now) this.writeLine(key, limited, now);
    else limited.suppressed += 1;
    this.check(key, limited, now);
  }

  /** True if a line of this kind was written within the last interval. Not supported for kinds beyond `maxKinds`. */
  isLimiting(kind: string): boolean {
    return this.kinds.has(kind);
  }

  /** Writes the suppressed entries and clears all timers. */
  close(): void {
    for (const [kind, limited] of this.kinds) {
      if (limited.suppressed > 0) this.writeLine(kind, limited, this.clock.now());
    }
    this.clear();
  }

  /** Drops the suppressed entries and clears all timers. */
  clear(): void {
    for (const { timer } of this.kinds.values()) timer?.clear();
    this.kinds.clear();
  }

  /** Returns the time from which the limit allows another line. */
  private allowedAt({ writtenAt }: LimitedKind<Entry>): number {
    return (writtenAt.at(-this.maxLines()) ?? -Infinity) + LOG_INTERVAL_MS;
  }

  private writeLine(kind: Kind, limited: LimitedKind<Entry>, now: number): void {
    const { latest, latestAt, suppressed, writtenAt } = limited;
    limited.suppressed = 0;
    limited.writtenAt = [...writtenAt.filter((at) => now - at < LOG_INTERVAL_MS), now];
    this.write(latest, suppressed, kind === OTHERS, now - latestAt);
  }

  /** Writes the suppressed entries if the limit allows it, and schedules the next check. Removes a kind after an interval without lines. */
  private check(kind: Kind, limited: LimitedKind<Entry>, now: number): void {
    if (limited.suppressed > 0 && this.allowedAt(limited) <= now) this.writeLine(kind, limited, now);
    const removeAt = (limited.writtenAt.at(-1) ?? -Infinity) + LOG_INTERVAL_MS;
    const dueAt = limited.suppressed > 0 ? this.allowedAt(limited) : removeAt;
    if (dueAt <= now) {
      this.kinds.delete(kind);
      return;
    }
    // The timer is reused, because there may be thousands of entries per second.
    if (dueAt === limited.dueAt) return;
    limited.dueAt = dueAt;
    limited.timer?.clear();
    limited.timer = this.clock.setTimer(() => {
      // A timer can fire early, so `now` is at least the time for which the timer was set.
      this.check(kind, limited, Math.max(dueAt, this.clock.now()));
    }, dueAt - now);
  }
}

/**
 * Describes when repeats occurred. Includes the age of the latest repeat if this age is a second or more, because the line is written only
 * when the minute ends or the limiter is closed.
 */
export function lastMinute(ageMs: number): string {
  return `in the last minute${ageMs < 1_000 ? '' : `, the last one ${duration(ageMs)} ago`}`;
}

/**
 * Returns `line` with the number of its repeats; unchanged if it has no repeats.
 *
 * @param ageMs age of the latest repeat
 * @param scope text at the end of the parentheses, such as ', including other methods and codes'
 * @param isOther true if the latest repeat differs from the first line. If false, the stack is omitted, because the first line contains it.
 */
export function withRepeats(line: LogLine, repeats: number, ageMs: number, scope = '', isOther = false): LogLine {
  if (repeats === 0) return line;
  const { stack, ...fields } = line.fields;
  const text = `${line.msg} (${isOther ? 'the latest of ' : ''}${String(repeats)} more ${lastMinute(ageMs)}${scope})`;
  return new LogLine(line.level, text, { ...fields, repeats, ...(isOther && { stack }) });
}
