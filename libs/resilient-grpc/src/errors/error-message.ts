/** True for an Error from any realm. Jest runs tests in a realm of their own, and errors from Node's modules belong to another one. */
export function isError(value: unknown): value is Error {
  return value instanceof Error || Object.prototype.toString.call(value) === '[object Error]';
}

/** Returns the message of `error`, or the value as a string if it is not an Error. */
export function errorMessage(error: unknown): string {
  return isError(error) ? error.message : String(error);
}
