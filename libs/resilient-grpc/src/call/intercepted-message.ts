/**
 * A request message of a call with grpc-js interceptors. Interceptors may change the object that they receive, so each attempt after the
 * first passes a copy to them. The copy is not made by serialization, which would lose values that the serializer does not support and that
 * an interceptor may convert.
 */
export class InterceptedMessage {
  private readonly copy: unknown;
  private isSent = false;

  constructor(private original: unknown) {
    this.copy = copyOf(original);
  }

  /** Returns the object for the next attempt: the original object first, and then copies of it as it was at construction. */
  take(): unknown {
    if (this.isSent) return copyOf(this.copy);
    this.isSent = true;
    const { original } = this;
    this.original = undefined;
    return original;
  }
}

function copyOf(message: unknown): unknown {
  try {
    return deepCopy(message, new Map());
  } catch {
    // A getter threw, or the message is nested too deeply.
    return message;
  }
}

/** Copies objects, arrays, and bytes. Other values with internal state, such as a `Date` or a `Map`, are not copied. */
function deepCopy(value: unknown, copies: Map<object, unknown>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const known = copies.get(value);
  if (known !== undefined) return known;
  if (value instanceof Uint8Array) return Buffer.isBuffer(value) ? Buffer.from(value) : value.slice();
  if (Array.isArray(value)) {
    const copy: unknown[] = [];
    copies.set(value, copy);
    for (const item of value) copy.push(deepCopy(item, copies));
    return copy;
  }
  if (Object.prototype.toString.call(value) !== '[object Object]') return value;
  const copy = Object.create(Object.getPrototypeOf(value) as object | null) as Record<string, unknown>;
  copies.set(value, copy);
  for (const [key, item] of Object.entries(value)) copy[key] = deepCopy(item, copies);
  return copy;
}
