import type { Clock } from '../../time/clock.js';

/** How long to wait, and what is said when that was not enough. */
export interface Bound {
  readonly clock: Clock;
  readonly ms: number;
  /** Such as "fault 'kill' did not begin". */
  readonly what: string;
  /** Ends the wait too, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What `work` resolves to; rejects when that takes longer than its bound. */
export async function within<T>(work: T | PromiseLike<T>, { clock, ms, what, signal }: Bound): Promise<T> {
  let release: () => void = () => undefined;
  const bound = new Promise<never>((_, reject) => {
    const abort = () => {
      reject(signal?.reason as Error);
    };
    const timer = clock.setTimer(
      () => {
        reject(new Error(`${what} within ${ms} ms`));
      },
      ms,
      true,
    );
    release = () => {
      clock.clearTimer(timer);
      signal?.removeEventListener('abort', abort);
    };
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([work, bound]);
  } finally {
    release();
  }
}
