import type { Clock, Timer } from '../../time/clock.js';
import { LogLine } from './log-line.js';
import { duration } from './log-text.js';

const MINUTE_MS = 60_000;
/** One while connections come and go, as then most of what there is to tell has the same cause. */
const MOST = 4;
const MOST_IN_UNREST = 1;
/** Methods that a line names in which several were taken together. */
const NAMED = 20;
/** What somebody has to look after whatever else there is to tell: a call that may have had an effect. */
const GRAVEST = 'attempt-end';

/** The latest line of a kind about one method (or address), and how many it stands for. */
interface Held {
  readonly line: LogLine;
  readonly at: number;
  readonly lines: number;
}

/**
 * Lines above `debug` of one client, but those of outages, which have a limit of their own: at most four a minute, and one for a
 * minute after an outage. What is over is told within the minute in one line: of each kind the latest, how old it is, of which
 * methods there were more, and how many. Of a method it has the latest alone: a circuit that is closed again is not told as open.
 */
export class LineLimit {
  /** When lines were told that are not a minute old. */
  private told: number[] = [];
  /** By kind and method, the latest last. */
  private held = new Map<string, Held>();
  private timer: Timer | undefined;
  private unrestUntil = 0;

  constructor(
    private readonly write: (line: LogLine) => void,
    private readonly clock: Clock,
  ) {}

  /** An outage has begun, or ended. */
  unrest(): void {
    this.unrestUntil = this.clock.now() + MINUTE_MS;
  }

  say(line: LogLine): void {
    const key = `${kindOf(line)} ${subjectOf(line)}`;
    const lines = (this.held.get(key)?.lines ?? 0) + 1;
    this.held.delete(key);
    this.held.set(key, { line, at: this.clock.now(), lines });
    this.tellWhenRoom();
  }

  /** Tells what was held back, and leaves no timer behind. */
  close(): void {
    this.stop();
    this.tellHeld();
  }

  /** How long until the first of the lines that fill the room is a minute old. */
  private noRoomForMs(): number {
    const now = this.clock.now();
    this.told = this.told.filter((at) => now - at < MINUTE_MS);
    const first = this.told.at(-(now < this.unrestUntil ? MOST_IN_UNREST : MOST));
    return first === undefined ? 0 : first + MINUTE_MS - now;
  }

  private readonly tellWhenRoom = (): void => {
    this.stop();
    const ms = this.noRoomForMs();
    if (ms > 0) this.timer = this.clock.setTimer(this.tellWhenRoom, ms);
    else this.tellHeld();
  };

  private stop(): void {
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
  }

  private tellHeld(): void {
    const held = [...this.held.values()].reverse();
    this.held = new Map();
    const kinds = byKind(held);
    const gravest = kinds[0]?.[0]?.line;
    if (gravest === undefined) return;
    const now = this.clock.now();
    const lines = sumOf(held);
    this.told.push(now);
    this.write(
      new LogLine(gravest.level, kinds.map((kind) => textOf(kind, now)).join(' | '), {
        ...gravest.fields,
        events: kinds.length > 1 ? [...new Set(held.map(({ line }) => kindOf(line)))].join(', ') : undefined,
        lines: lines > 1 ? lines : undefined,
      }),
    );
  }
}

/** The gravest kind first. Circuits that opened are another kind than those that closed. */
function byKind(held: readonly Held[]): readonly (readonly Held[])[] {
  const kinds = new Map<string, Held[]>();
  for (const one of held) {
    const kind = `${one.line.level} ${kindOf(one.line)}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), one]);
  }
  return [...kinds.values()].sort(([a], [b]) => gravity(b) - gravity(a));
}

function gravity(held: Held | undefined): number {
  if (held?.line.level !== 'warn') return 0;
  return kindOf(held.line) === GRAVEST ? 2 : 1;
}

/** Of one kind, the latest first. */
function textOf(kind: readonly Held[], now: number): string {
  const [latest, ...others] = kind;
  if (latest === undefined) return '';
  const ageMs = now - latest.at;
  const text = `${latest.line.msg}${ageMs < 1_000 ? '' : ` (${duration(ageMs)} ago)`}`;
  const more = sumOf(kind) - 1;
  if (more === 0) return text;
  const named = others.slice(0, NAMED).map(({ line }) => subjectOf(line));
  const rest = others.length > NAMED ? [`${String(others.length - NAMED)} more methods`] : [];
  return `${text} and ${String(more)} more${others.length === 0 ? '' : `: ${[...named, ...rest].join(', ')}`}`;
}

function sumOf(held: readonly Held[]): number {
  return held.reduce((sum, { lines }) => sum + lines, 0);
}

function kindOf({ fields }: LogLine): string {
  return String(fields['event']);
}

function subjectOf({ fields }: LogLine): string {
  return String(fields['path'] ?? fields['address'] ?? '');
}
