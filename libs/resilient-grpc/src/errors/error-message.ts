/** True if `value` is an Error, from any realm. Jest runs tests in their own realm, and errors from Node's modules belong to another. */
export function isError(value: unknown): value is Error {
  return value instanceof Error || Object.prototype.toString.call(value) === '[object Error]';
}

/** Returns the message of `error`, or `error` as a string if `error` is not an Error. */
export function errorMessage(error: unknown): string {
  return isError(error) ? error.message : String(error);
}
