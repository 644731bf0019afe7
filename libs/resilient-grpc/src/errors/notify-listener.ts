/**
 * Calls a listener of the application. An error that it throws does not end the operation that calls it. The error is rethrown in a
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
