const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** What one connection reads its messages by; whoever makes it is told when one is wanted. */
export class MessageReader<M> implements AsyncIterator<M, undefined> {
  readonly #waiting: ((result: IteratorResult<M, undefined>) => void)[] = [];
  #isDone = false;

  constructor(private readonly wanted: () => void) {}

  /** Somebody waits for a message. */
  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  next(): Promise<IteratorResult<M, undefined>> {
    if (this.#isDone) return Promise.resolve(DONE);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.wanted();
    });
  }

  return(): Promise<IteratorReturnResult<undefined>> {
    this.end();
    return Promise.resolve(DONE);
  }

  /** Gives `message` to who waits longest. */
  give(message: M): void {
    this.#waiting.shift()?.({ done: false, value: message });
  }

  end(): void {
    this.#isDone = true;
    for (const resolve of this.#waiting.splice(0)) resolve(DONE);
  }
}
