/** Bytes of messages, noted where grpc-js makes them of messages and the other way round, and found where they pass a call. */
export class MessageSizes {
  private readonly read = new WeakMap<object, number>();
  private written: number | undefined;

  /** `deserialize`, whose messages `sizeOf` knows. */
  reading<T>(deserialize: (bytes: Buffer) => T): (bytes: Buffer) => T {
    return (bytes) => {
      const message = deserialize(bytes);
      if (isObject(message)) this.read.set(message, bytes.length);
      return message;
    };
  }

  /** `serialize`, which `during` hears of. */
  writing<T>(serialize: (message: T) => Buffer): (message: T) => Buffer {
    return (message) => {
      const bytes = serialize(message);
      this.written = bytes.length;
      return bytes;
    };
  }

  /** Of a message that was read. Only a serializer of someone's own makes one that is unknown. */
  sizeOf(message: unknown): number {
    return (isObject(message) ? this.read.get(message) : undefined) ?? 0;
  }

  /** Of the message that `write` serializes: grpc-js does so at once. Undefined where that failed. */
  during(write: () => void): number | undefined {
    this.written = undefined;
    write();
    return this.written;
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
