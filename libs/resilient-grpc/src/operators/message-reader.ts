const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/**
 * Iterator over the messages that one connection sends. Calls `wanted` for each pending read; its creator then supplies a message with
 * `give`.
 */
export class MessageReader<M> implements AsyncIterator<M, undefined> {
  private readonly waiting: ((result: IteratorResult<M, undefined>) => void)[] = [];
  private isDone = false;

  constructor(private readonly wanted: () => void) {}

  /** True if a read is pending. */
  get isWaiting(): boolean {
    return this.waiting.length > 0;
  }

  next(): Promise<IteratorResult<M, undefined>> {
    if (this.isDone) return Promise.resolve(DONE);
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      this.wanted();
    });
  }

  return(): Promise<IteratorReturnResult<undefined>> {
    this.end();
    return Promise.resolve(DONE);
  }

  /** Resolves the oldest pending read with `message`. */
  give(message: M): void {
    this.waiting.shift()?.({ done: false, value: message });
  }

  end(): void {
    this.isDone = true;
    for (const resolve of this.waiting.splice(0)) resolve(DONE);
  }
}
