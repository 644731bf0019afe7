import type { OnceReply } from '../../policy/once/next-once.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { KeptEnd } from './kept-end.js';

/** What a run has ended with: its end, which requests that have joined get with a mark; `undefined` if they ask the store themselves. */
export type RunOutcome = { readonly end: KeptEnd; readonly mark: 'replayed' | 'released' } | undefined;

/** A key in this process: its record is being read, its handler runs, or its end is being recorded. Requests with the same key join it. */
export class OnceRun {
  /** True while the handler runs. */
  isRunning = false;
  /** True while the store is asked to renew the lease. */
  isRenewing = false;
  /** Settles when the end is recorded; `undefined` before the handler has ended, and if it was recorded at once. */
  recorded: Promise<OnceReply | undefined> | undefined;
  private whenOver: Promise<RunOutcome> | undefined;
  private resolve: ((outcome: RunOutcome) => void) | undefined;
  private deadline = -Infinity;
  private timer: Timer | undefined;

  constructor(
    readonly id: string,
    readonly hash: string,
    /** Owns the key in the store. Each run has its own, so that an event of an earlier run, which may arrive late, changes nothing. */
    readonly owner: string,
  ) {}

  /** Called by a request with the same key. */
  get over(): Promise<RunOutcome> {
    return (this.whenOver ??= new Promise((resolve) => (this.resolve = resolve)));
  }

  /** A request with the key waits until `deadline`, in monotonic milliseconds; `Infinity` if it brought none. */
  extend(deadline: number): void {
    if (deadline !== Infinity && deadline > this.deadline) this.deadline = deadline;
  }

  /** Calls `abort` when no request waits any longer; after `maxRunMs` if none brought a deadline. */
  watch(clock: Clock, maxRunMs: number, abort: () => void): void {
    const startedAt = clock.now();
    const wait = (): void => {
      const leftMs = (this.deadline === -Infinity ? startedAt + maxRunMs : this.deadline) - clock.now();
      this.timer = clock.setTimer(check, Math.max(leftMs, 0));
    };
    const check = (): void => {
      // A request with a later deadline may have come.
      if (clock.now() < this.deadline) wait();
      else abort();
    };
    wait();
  }

  ended(): void {
    this.isRunning = false;
    this.timer?.clear();
  }

  close(outcome: RunOutcome): void {
    this.resolve?.(outcome);
  }
}
