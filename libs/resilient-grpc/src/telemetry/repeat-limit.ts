import type { Clock, Timer } from '../time/clock.js';

interface Repeated {
  text: string;
  count: number;
  readonly timer: Timer;
}

/** Lets the first text of a kind through, and at the end of its time tells how many more there were. */
export class RepeatLimit {
  private readonly kinds = new Map<string, Repeated>();

  /** @param summarize told the last text of a kind and how many were held back */
  constructor(
    private readonly clock: Clock,
    private readonly everyMs: number,
    private readonly summarize: (text: string, count: number) => void,
  ) {}

  say(kind: string, text: string, write: (text: string) => void): void {
    const known = this.kinds.get(kind);
    if (known !== undefined) {
      known.count += 1;
      known.text = text;
      return;
    }
    write(text);
    const timer = this.clock.setTimer(() => {
      this.tell(kind);
    }, this.everyMs);
    this.kinds.set(kind, { text, count: 0, timer });
  }

  close(): void {
    for (const [kind, { timer }] of this.kinds) {
      this.clock.clearTimer(timer);
      this.tell(kind);
    }
  }

  private tell(kind: string): void {
    const known = this.kinds.get(kind);
    this.kinds.delete(kind);
    if (known !== undefined && known.count > 0) this.summarize(known.text, known.count);
  }
}
