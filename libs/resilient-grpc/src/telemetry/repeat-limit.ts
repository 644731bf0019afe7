import type { Clock, Timer } from '../time/clock.js';

interface Repeated<T> {
  latest: T;
  count: number;
  timer: Timer;
}

/** Lets the first of a kind through, then tells once in its time how many more there were, until a time has passed without any. */
export class RepeatLimit<T> {
  private readonly kinds = new Map<string, Repeated<T>>();

  /** @param summarize told the last one of a kind and how many were held back */
  constructor(
    private readonly clock: Clock,
    private readonly everyMs: number,
    private readonly summarize: (latest: T, count: number) => void,
  ) {}

  say(kind: string, one: T, write: (one: T) => void): void {
    const known = this.kinds.get(kind);
    if (known !== undefined) {
      known.count += 1;
      known.latest = one;
      return;
    }
    write(one);
    this.kinds.set(kind, { latest: one, count: 0, timer: this.later(kind) });
  }

  close(): void {
    for (const { timer, latest, count } of this.kinds.values()) {
      this.clock.clearTimer(timer);
      if (count > 0) this.summarize(latest, count);
    }
    this.kinds.clear();
  }

  private later(kind: string): Timer {
    return this.clock.setTimer(() => {
      this.tell(kind);
    }, this.everyMs);
  }

  private tell(kind: string): void {
    const known = this.kinds.get(kind);
    if (known === undefined) return;
    const { latest, count } = known;
    if (count === 0) {
      this.kinds.delete(kind);
      return;
    }
    known.count = 0;
    known.timer = this.later(kind);
    this.summarize(latest, count);
  }
}
