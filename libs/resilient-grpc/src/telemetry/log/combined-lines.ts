import type { Clock } from '../../time/clock.js';
import { LOG_INTERVAL_MS, LogLimiter } from './log-limiter.js';
import { LogLine } from './log-line.js';
import { counted, duration, listed } from './log-text.js';

/** Maximum number of lines per minute. */
const MAX_LINES = 4;
/** Maximum number of lines during the minute after an outage starts or ends, when most events have the same cause. */
const MAX_LINES_WHILE_UNSTABLE = 1;
/** Maximum number of methods or addresses listed for each kind in a combined line. */
const MAX_LISTED_SUBJECTS = 20;
/** The event that comes first in a combined line: a failed call that may have had an effect. An operator may have to check such calls. */
const TOP_SEVERITY_EVENT = 'attempt-end';

/** The latest unwritten line of one kind about one method or address, and the number of lines that it represents. */
interface PendingLine {
  readonly line: LogLine;
  readonly at: number;
  readonly lines: number;
}

/**
 * Limits the log lines above `debug` of one client to four lines a minute, or to one line during the minute after an outage starts or ends.
 * Lines about untested versions and unsent fields are not limited, and outage lines have a separate limit. Excess lines are combined and
 * written within a minute as one line. For each kind, this line contains the latest message, its age, the number of other messages, and
 * their methods or addresses. It shows only the latest state of a method, so a circuit that has closed again is not reported as open.
 */
export class CombinedLines {
  /** Pending lines by kind and by method or address, the latest last. */
  private pending = new Map<string, PendingLine>();
  private readonly limiter: LogLimiter<LogLine>;
  private unstableUntil = 0;

  constructor(
    private readonly write: (line: LogLine) => void,
    private readonly clock: Clock,
  ) {
    const flush = () => {
      this.flush();
    };
    const maxLines = () => (clock.now() < this.unstableUntil ? MAX_LINES_WHILE_UNSTABLE : MAX_LINES);
    this.limiter = new LogLimiter(clock, flush, { maxLines });
  }

  /** Lowers the limit for a minute. Called when an outage starts or ends. */
  connectionUnstable(): void {
    this.unstableUntil = this.clock.now() + LOG_INTERVAL_MS;
  }

  add(line: LogLine): void {
    const key = `${kindOf(line)} ${subjectOf(line)}`;
    const lines = (this.pending.get(key)?.lines ?? 0) + 1;
    this.pending.delete(key);
    this.pending.set(key, { line, at: this.clock.now(), lines });
    // All lines of the client share one limit.
    this.limiter.log('', line);
  }

  /** Writes the pending lines and clears the timer. */
  close(): void {
    this.limiter.close();
  }

  private flush(): void {
    const pending = [...this.pending.values()].reverse();
    this.pending = new Map();
    const kinds = byKind(pending);
    const mostSevere = kinds[0]?.[0]?.line;
    if (mostSevere === undefined) return;
    const now = this.clock.now();
    const lines = sumOf(pending);
    this.write(
      new LogLine(mostSevere.level, kinds.map((kind) => combined(kind, now)).join(' | '), {
        ...mostSevere.fields,
        events: kinds.length > 1 ? [...new Set(pending.map(({ line }) => kindOf(line)))].join(', ') : undefined,
        lines: lines > 1 ? lines : undefined,
      }),
    );
  }
}

/** Groups lines by level and kind, the most severe first. The level separates opened circuits from closed circuits. */
function byKind(pending: readonly PendingLine[]): readonly (readonly PendingLine[])[] {
  const kinds = new Map<string, PendingLine[]>();
  for (const entry of pending) {
    const kind = `${entry.line.level} ${kindOf(entry.line)}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), entry]);
  }
  return [...kinds.values()].sort(([a], [b]) => severity(b) - severity(a));
}

function severity(pending: PendingLine | undefined): number {
  if (pending?.line.level !== 'warn') return 0;
  return kindOf(pending.line) === TOP_SEVERITY_EVENT ? 2 : 1;
}

/** Builds the message for the lines of one kind, given latest first. */
function combined(kind: readonly PendingLine[], now: number): string {
  const [latest, ...others] = kind;
  if (latest === undefined) return '';
  const ageMs = now - latest.at;
  const text = `${latest.line.msg}${ageMs < 1_000 ? '' : ` (${duration(ageMs)} ago)`}`;
  const more = sumOf(kind) - 1;
  if (more === 0) return text;
  if (others.length === 0) return `${text} and ${String(more)} more`;
  const subjects = others.map(({ line }) => subjectOf(line));
  const isAboutMethods = latest.line.fields['path'] !== undefined;
  const rest = (count: number): string =>
    isAboutMethods ? counted(count, 'more method') : counted(count, 'more address', 'more addresses');
  return `${text} and ${String(more)} more: ${listed(subjects, MAX_LISTED_SUBJECTS, rest)}`;
}

function sumOf(pending: readonly PendingLine[]): number {
  return pending.reduce((sum, { lines }) => sum + lines, 0);
}

function kindOf({ fields }: LogLine): string {
  return fields['event'];
}

function subjectOf({ fields }: LogLine): string {
  return String(fields['path'] ?? fields['address'] ?? '');
}
