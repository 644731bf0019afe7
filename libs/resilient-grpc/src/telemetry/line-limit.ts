import type { Clock, Timer } from '../time/clock.js';
import { LogLine } from './log-line.js';

const MINUTE_MS = 60_000;
/** An outage is three lines: that it is there, that its grace is over, that it has ended. */
const OF_OUTAGES = 3;
/** Lines of anything else: one while connections come and go, as then most of it has the same cause. */
const OF_OTHERS = 4;
const OF_OTHERS_IN_UNREST = 1;
/** Texts that stand in a line for those that were held back. */
const TEXTS = 3;

type Part = 'outage' | 'other';

/**
 * Lines above `debug` of one client: at most four a minute while its server comes and goes, and nothing is lost: what is over is told
 * within the minute in one line, with the latest text of each kind. An outage has its lines whatever else there is to tell.
 */
export class LineLimit {
  /** When lines were told that are not a minute old. */
  private told: { readonly part: Part; readonly at: number }[] = [];
  private held: LogLine[] = [];
  private heldLines = 0;
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

  say(part: Part, line: LogLine): void {
    if (this.room(part)) {
      this.tell(part, line);
      return;
    }
    // The latest of each kind.
    const kind = kindOf(line);
    this.held = [...this.held.filter((one) => kindOf(one) !== kind), line];
    this.heldLines += 1;
    this.timer ??= this.clock.setTimer(this.tellWhenRoom, this.nextRoomInMs());
  }

  /** Tells what was held back, and leaves no timer behind. */
  close(): void {
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
    this.tellHeld();
  }

  private most(part: Part): number {
    if (part === 'outage') return OF_OUTAGES;
    return this.clock.now() < this.unrestUntil ? OF_OTHERS_IN_UNREST : OF_OTHERS;
  }

  private room(part: Part): boolean {
    const now = this.clock.now();
    this.told = this.told.filter(({ at }) => now - at < MINUTE_MS);
    return this.told.filter((one) => one.part === part).length < this.most(part);
  }

  /** When the first of the lines that fill the room for others is a minute old. */
  private nextRoomInMs(): number {
    const others = this.told.filter(({ part }) => part === 'other');
    const first = others.at(-this.most('other'));
    return first === undefined ? 0 : Math.max(0, first.at + MINUTE_MS - this.clock.now());
  }

  private tell(part: Part, line: LogLine): void {
    this.told.push({ part, at: this.clock.now() });
    this.write(line);
  }

  private readonly tellWhenRoom = (): void => {
    this.timer = undefined;
    if (this.room('other')) this.tellHeld();
    else this.timer = this.clock.setTimer(this.tellWhenRoom, this.nextRoomInMs());
  };

  private tellHeld(): void {
    const { held, heldLines } = this;
    const latest = held.at(-1);
    if (latest === undefined) return;
    this.held = [];
    this.heldLines = 0;
    const level = held.some((one) => one.level === 'warn') ? 'warn' : 'log';
    const texts = held.slice(-TEXTS).map(({ msg }) => msg);
    const more = heldLines > texts.length ? ` (${String(heldLines)} lines of the last minute)` : '';
    this.tell('other', new LogLine(level, `${texts.join(' | ')}${more}`, { ...latest.fields, lines: heldLines }));
  }
}

function kindOf(line: LogLine) {
  return line.fields['event'];
}
