/** Sizes of messages, recorded when grpc-js serializes or deserializes them, and looked up when they pass a call. */
export class MessageSizes {
  private readonly read = new WeakMap<object, number>();
  private written: number | undefined;

  /** Wraps `deserialize`, so that `sizeOf` returns the sizes of its messages. */
  reading<T>(deserialize: (bytes: Buffer) => T): (bytes: Buffer) => T {
    return (bytes) => {
      const message = deserialize(bytes);
      if (isObject(message)) this.read.set(message, bytes.length);
      return message;
    };
  }

  /** Wraps `serialize`, so that `during` returns the size of its message. */
  writing<T>(serialize: (message: T) => Buffer): (message: T) => Buffer {
    return (message) => {
      const bytes = serialize(message);
      this.written = bytes.length;
      return bytes;
    };
  }

  /** Returns the size of a received message; 0 if it is unknown, which only a custom serializer can cause. */
  sizeOf(message: unknown): number {
    return (isObject(message) ? this.read.get(message) : undefined) ?? 0;
  }

  /** Returns the size of the message that `write` serializes synchronously; `undefined` if that failed. */
  during(write: () => void): number | undefined {
    this.written = undefined;
    write();
    return this.written;
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
