import { waitFor } from 'nestjs-resilient-grpc/testing';
import type { Observable } from 'rxjs';

/** One call of a `CallLoad`. */
export interface LoadCall {
  /** Number of the call, from 1. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Milliseconds since 1970; `undefined` while the call runs. */
  readonly endedAt: number | undefined;
  readonly latencyMs: number | undefined;
  readonly error: unknown;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** Starts calls at a steady rate until `pause()` or `stop()`, and records the result of each. */
export class CallLoad {
  readonly calls: LoadCall[] = [];
  private openCount = 0;
  private readonly timer: NodeJS.Timeout;

  private constructor(
    perSecond: number,
    private readonly make: (number: number) => Observable<unknown>,
    maxOpen: number,
  ) {
    const beganAt = performance.now();
    this.timer = setInterval(() => {
      const due = Math.floor(((performance.now() - beganAt) / 1_000) * perSecond);
      while (this.calls.length < due && this.openCount < maxOpen) this.call();
    }, 5);
  }

  /** @param maxOpen maximum number of open calls, for a machine that is too slow for the rate */
  static start(perSecond: number, make: (number: number) => Observable<unknown>, maxOpen = Infinity): CallLoad {
    return new CallLoad(perSecond, make, maxOpen);
  }

  get succeeded(): readonly LoadCall[] {
    return this.calls.filter(({ endedAt, error }) => endedAt !== undefined && error === undefined);
  }

  get failed(): readonly LoadCall[] {
    return this.calls.filter(({ error }) => error !== undefined);
  }

  get open(): readonly LoadCall[] {
    return this.calls.filter(({ endedAt }) => endedAt === undefined);
  }

  /** Stops starting calls. */
  pause(): void {
    clearInterval(this.timer);
  }

  /** Stops starting calls, and resolves when the last open call has ended. */
  async stop(timeoutMs = 10_000): Promise<void> {
    this.pause();
    await waitFor(() => this.open.length === 0, {
      timeoutMs,
      describe: () => `the end of ${this.open.length} of ${this.calls.length} calls`,
    });
  }

  private call(): void {
    const number = this.calls.length + 1;
    const beganAt = performance.now();
    const call: Writable<LoadCall> = {
      number,
      startedAt: Date.now(),
      endedAt: undefined,
      latencyMs: undefined,
      error: undefined,
    };
    this.calls.push(call);
    this.openCount += 1;
    const ended = (): void => {
      this.openCount -= 1;
      call.endedAt = Date.now();
      call.latencyMs = performance.now() - beganAt;
    };
    this.make(number).subscribe({
      error: (error: unknown) => {
        call.error = error;
        ended();
      },
      complete: ended,
    });
  }
}

/** The median of `values`; NaN if `values` is empty. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The quantile of `values` at `share`, from 0 to below 1; NaN if `values` is empty. */
export function quantile(values: readonly number[], share: number): number {
  return [...values].sort((a, b) => a - b)[Math.trunc(values.length * share)] ?? NaN;
}
