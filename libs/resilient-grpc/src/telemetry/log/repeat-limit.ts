import type { Clock, Timer } from '../../time/clock.js';

/** Of all kinds that are too many. */
const OTHERS = Symbol('others');

interface Repeated<T> {
  latest: T;
  count: number;
  timer: Timer;
}

/** Lets the first of a kind through, then tells once in its time how many more there were, until a time has passed without any. */
export class RepeatLimit<T> {
  private readonly kinds = new Map<string | typeof OTHERS, Repeated<T>>();

  /**
   * @param summarize told the last one of a kind, how many were held back, and whether they are of several kinds
   * @param most kinds that are told apart at a time; all that are more are one
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
      this.clock.clearTimer(timer);
      if (count > 0) this.summarize(latest, count, kind === OTHERS);
    }
    this.kinds.clear();
  }

  private later(kind: string | typeof OTHERS): Timer {
    return this.clock.setTimer(() => {
      this.tell(kind);
    }, this.everyMs);
  }

  private tell(kind: string | typeof OTHERS): void {
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
