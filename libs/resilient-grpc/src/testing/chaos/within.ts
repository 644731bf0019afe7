import type { Clock } from '../../time/clock.js';

/** The time limit of an operation and its error message. */
export interface Bound {
  readonly clock: Clock;
  readonly ms: number;
  /** Start of the error message, such as "fault 'kill' did not start". */
  readonly what: string;
  /** Also ends the wait when aborted; `within` then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Resolves to the result of `work`. Rejects if that takes longer than `ms`. */
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
      timer.clear();
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
