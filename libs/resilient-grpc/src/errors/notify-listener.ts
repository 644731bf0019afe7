/**
 * Calls a listener of the application. An error that the listener throws does not end the current operation. The error is rethrown in a
 * microtask, so that it is not lost.
 */
export function notifyListener<T>(listener: (value: T) => void, value: T): void {
  try {
    listener(value);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
