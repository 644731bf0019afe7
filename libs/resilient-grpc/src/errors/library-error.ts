const NAME = Symbol.for('nestjs-resilient-grpc.error');

/**
 * Makes `instanceof`, and therefore `@Catch()`, also match instances of `type` from other copies of this package. `name` identifies the
 * class in all copies, even if a bundler renames it. Subclasses keep the usual `instanceof`.
 */
export function defineLibraryError(type: abstract new (...args: never[]) => Error, name: string): void {
  Object.defineProperty(type.prototype, NAME, { value: name });
  Object.defineProperty(type, Symbol.hasInstance, {
    value(this: unknown, value: unknown): boolean {
      if (this !== type) return Function.prototype[Symbol.hasInstance].call(this, value);
      return value instanceof Error && Reflect.get(value, NAME) === name;
    },
  });
}

/** True if this package, or another copy of it, created the error. */
export function isLibraryError(error: Error): boolean {
  return NAME in error;
}

/** Reason of an aborted signal. `fetch` and others throw the reason, and their callers recognize a cancellation by its name. */
export class AbortError extends Error {
  override readonly name = 'AbortError';
}
