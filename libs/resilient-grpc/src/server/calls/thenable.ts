/** True if `await` would wait for the value: a promise, or a promise-like object such as a query builder. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
