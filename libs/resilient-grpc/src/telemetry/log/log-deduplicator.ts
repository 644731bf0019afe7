import type { Clock, Timer } from '../../time/clock.js';

/** The shared key of all kinds beyond the maximum. */
const OTHERS = Symbol('others');

interface Repeated<T> {
  latest: T;
  count: number;
  timer: Timer;
}

/**
 * Writes the first entry of each kind immediately. Repeats are counted and summarized once per interval, until an interval passes without
 * any.
 */
export class LogDeduplicator<T> {
  private readonly kinds = new Map<string | typeof OTHERS, Repeated<T>>();

  /**
   * @param summarize receives the latest entry of a kind, the number of suppressed entries, and whether they belong to several kinds
   * @param most the maximum number of kinds tracked separately; all further kinds share one entry
   */
  constructor(
    private readonly clock: Clock,
    private readonly everyMs: number,
    private readonly summarize: (latest: T, count: number, isOfOthers: boolean) => void,
    private readonly most = Infinity,
  ) {}

  say(kind: string, one: T, write: (one: T) => void): void {
    const as = this.kinds.has(kind) || this.kinds.size < this.most ? kind : OTHERS;
    const known = this.kinds.get(as);
    if (known !== undefined) {
      known.count += 1;
      known.latest = one;
      return;
    }
    write(one);
    this.kinds.set(as, { latest: one, count: 0, timer: this.later(as) });
  }

  close(): void {
    for (const [kind, { timer, latest, count }] of this.kinds) {
      timer.clear();
      if (count > 0) this.summarize(latest, count, kind === OTHERS);
    }
    this.kinds.clear();
  }

  private later(kind: string | typeof OTHERS): Timer {
    return this.clock.setTimer(() => {
      this.write(kind);
    }, this.everyMs);
  }

  private write(kind: string | typeof OTHERS): void {
    const known = this.kinds.get(kind);
    if (known === undefined) return;
    const { latest, count } = known;
    if (count === 0) {
      this.kinds.delete(kind);
      return;
    }
    known.count = 0;
    known.timer = this.later(kind);
    this.summarize(latest, count, kind === OTHERS);
  }
}
