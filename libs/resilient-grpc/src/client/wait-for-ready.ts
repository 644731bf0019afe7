import type { CallTransport } from '../call/call-transport.js';
import type { Clock } from '../time/clock.js';

/** Limits of a wait for READY: timeout in milliseconds and abort signal. */
export interface ReadyOptions {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Waits in the call queue until the channel is READY. Rejects if the wait is refused, times out or is aborted. */
export function waitForReady(
  transport: CallTransport,
  { timeoutMs, signal }: ReadyOptions,
  clock: Clock,
): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    if (transport.isConnected) {
      resolve();
      return;
    }
    const leave = (): void => {
      timer?.clear();
      signal?.removeEventListener('abort', onAbort);
      transport.dequeue(waiter);
    };
    const fail = (error: unknown): void => {
      leave();
      // An abort reason is the caller's own value, of any type.
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
      reject(error);
    };
    const waiter = {
      waitForReady: true,
      waitingSince: clock.now(),
      deadline: Infinity,
      bytes: 0,
      rateLimited: false,
      // This waiter sends no request.
      expectsPromptResponse: false,
      release: () => {
        leave();
        resolve();
      },
      refuse: ({ details }: { readonly details: string }) => {
        fail(new Error(details));
      },
    };
    const onAbort = (): void => {
      fail(signal?.reason);
    };
    const onTimeout = (): void => {
      fail(new Error(`Not ready after ${String(timeoutMs)} ms: ${transport.whyNotReady()}`));
    };
    const timer = timeoutMs === undefined ? undefined : clock.setTimer(onTimeout, timeoutMs, true);
    if (signal?.aborted === true) {
      fail(signal.reason);
      return;
    }
    signal?.addEventListener('abort', onAbort, { once: true });
    transport.wait(waiter);
  });
}
