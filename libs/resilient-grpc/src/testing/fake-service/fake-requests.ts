interface Reader {
  readonly resolve: (result: IteratorResult<unknown>) => void;
  readonly reject: (error: unknown) => void;
}

type End = { readonly kind: 'done' } | { readonly kind: 'failed'; readonly error: unknown };

/** The messages of a request stream, as a handler reads them: the next one is taken from the caller when this one was read. */
export class FakeRequests implements AsyncIterableIterator<unknown> {
  private message: { readonly value: unknown; readonly taken: () => void } | undefined;
  private readonly readers: Reader[] = [];
  private ended: End | undefined;

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The caller has sent one; at most one is in flight. */
  push(value: unknown, taken: () => void): void {
    if (this.ended !== undefined) return;
    const reader = this.readers.shift();
    if (reader === undefined) {
      this.message = { value, taken };
      return;
    }
    reader.resolve({ done: false, value });
    taken();
  }

  /** There are no more, or no more will come. */
  end(ended: End): void {
    if (this.ended !== undefined) return;
    this.ended = ended;
    for (const reader of this.readers.splice(0)) lastOf(ended).then(reader.resolve, reader.reject);
  }

  next(): Promise<IteratorResult<unknown>> {
    const { message } = this;
    if (message !== undefined) {
      this.message = undefined;
      message.taken();
      return Promise.resolve({ done: false, value: message.value });
    }
    if (this.ended !== undefined) return lastOf(this.ended);
    return new Promise((resolve, reject) => {
      this.readers.push({ resolve, reject });
    });
  }

  /** The handler has read enough: the caller sends no more, as behind a window of flow control that stays shut. */
  return(): Promise<IteratorResult<unknown>> {
    this.message = undefined;
    this.end({ kind: 'done' });
    return Promise.resolve({ done: true, value: undefined });
  }
}

function lastOf(ended: End): Promise<IteratorResult<unknown>> {
  if (ended.kind === 'done') return Promise.resolve({ done: true, value: undefined });
  // The handler gets what ended its call.
  // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
  return Promise.reject(ended.error);
}
