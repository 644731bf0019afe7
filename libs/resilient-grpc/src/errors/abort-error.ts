/** Reason of an aborted signal. `fetch` and others throw the reason, and their callers recognize a cancellation by its name. */
export class AbortError extends Error {
  override readonly name = 'AbortError';
}
