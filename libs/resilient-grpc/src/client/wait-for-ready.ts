import type { CallTransport, WaitRefusal } from '../call/call-transport.js';
import type { Clock } from '../time/clock.js';

export interface ReadyOptions {
  /** Maximum wait in milliseconds, 0 or more. A value above 2,147,483,647 (24 days) is reduced to 2,147,483,647. @defaultValue no limit */
  readonly timeoutMs?: number | undefined;
  /** Signal that ends the wait. Its abort reason becomes the error. */
  readonly signal?: AbortSignal | undefined;
}

/** Waits in the call queue until the channel is READY. Rejects if the wait is refused, times out, or is aborted. */
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
    const stopWaiting = (): void => {
      timer?.clear();
      signal?.removeEventListener('abort', onAbort);
      transport.dequeue(waiter);
    };
    const fail = (error: unknown): void => {
      stopWaiting();
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
      path: undefined,
      release: () => {
        stopWaiting();
        resolve();
      },
      refuse: ({ details, remedy }: WaitRefusal) => {
        fail(new Error(withRemedy(details, remedy)));
      },
    };
    const onAbort = (): void => {
      fail(signal?.reason);
    };
    const onTimeout = (): void => {
      fail(
        new Error(withRemedy(`Not ready after ${String(timeoutMs)} ms: ${transport.whyNotReady()}`, transport.remedy)),
      );
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

function withRemedy(message: string, remedy: string | undefined): string {
  return remedy === undefined ? message : `${message} (${remedy})`;
}
