type Result = IteratorResult<unknown>;

type End = { readonly kind: 'done' } | { readonly kind: 'failed'; readonly error: Error };

/** The request stream that a handler reads. The next message is taken from the caller only after the handler has read the current one. */
export class FakeRequests implements AsyncIterableIterator<unknown> {
  private message: { readonly value: unknown; readonly taken: () => void } | undefined;
  private readonly readers: ((result: Result | Promise<Result>) => void)[] = [];
  private ended: End | undefined;

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Adds a message from the caller. At most one message is in flight. */
  push(value: unknown, taken: () => void): void {
    if (this.ended !== undefined) return;
    const resolve = this.readers.shift();
    if (resolve === undefined) {
      this.message = { value, taken };
      return;
    }
    resolve({ done: false, value });
    taken();
  }

  /** Ends the stream, cleanly or with an error. */
  end(ended: End): void {
    if (this.ended !== undefined) return;
    this.ended = ended;
    for (const resolve of this.readers.splice(0)) resolve(lastOf(ended));
  }

  next(): Promise<Result> {
    const { message } = this;
    if (message !== undefined) {
      this.message = undefined;
      message.taken();
      return Promise.resolve({ done: false, value: message.value });
    }
    if (this.ended !== undefined) return lastOf(this.ended);
    return new Promise((resolve) => this.readers.push(resolve));
  }

  /** Called when the handler stops reading. The caller then cannot send more, as if the flow-control window stayed closed. */
  return(): Promise<Result> {
    this.message = undefined;
    this.end({ kind: 'done' });
    return Promise.resolve({ done: true, value: undefined });
  }
}

function lastOf(ended: End): Promise<Result> {
  if (ended.kind === 'done') return Promise.resolve({ done: true, value: undefined });
  return Promise.reject(ended.error);
}
