import type { CallTransport } from '../call/call-transport.js';
import type { Clock } from '../time/clock.js';

/** How long somebody waits for a client to be READY. */
export interface ReadyOptions {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Stands in the queue of the calls until the channel is READY. Rejects when it is refused, in time or by the signal. */
export function waitForReady(
  transport: CallTransport,
  { timeoutMs, signal }: ReadyOptions,
  clock: Clock,
): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    if (transport.ready) {
      resolve();
      return;
    }
    const leave = (): void => {
      if (timer !== undefined) clock.clearTimer(timer);
      signal?.removeEventListener('abort', onAbort);
      transport.leave(waiter);
    };
    const fail = (error: unknown): void => {
      leave();
      // An abort reason is the caller's own, whatever it is.
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
      reject(error);
    };
    const waiter = {
      waitForReady: true,
      waitingSince: clock.now(),
      deadline: Infinity,
      bytes: 0,
      paced: false,
      // It sends nothing.
      answerDue: false,
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
    const tooLate = (): void => {
      fail(new Error(`Not ready after ${String(timeoutMs)} ms: ${transport.whyNotReady()}`));
    };
    const timer = timeoutMs === undefined ? undefined : clock.setTimer(tooLate, timeoutMs, true);
    if (signal?.aborted === true) {
      fail(signal.reason);
      return;
    }
    signal?.addEventListener('abort', onAbort, { once: true });
    transport.wait(waiter);
  });
}
