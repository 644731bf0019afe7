import type { ServerDuplexStream } from '@grpc/grpc-js';

/** A call as grpc-js hands it to a bidi handler. */
export type DuplexCall = ServerDuplexStream<unknown, unknown>;

/** Reads the requests of a call one by one, and only when asked, so that flow control works. */
export class RequestReader implements AsyncIterable<unknown> {
  readonly #call: DuplexCall;
  readonly #onRequest: (request: unknown) => void;
  #changed: () => void = () => undefined;
  #ended = false;

  constructor(call: DuplexCall, onRequest: (request: unknown) => void) {
    this.#call = call;
    this.#onRequest = onRequest;
    call.on('readable', () => {
      this.#changed();
    });
    for (const end of ['end', 'close', 'cancelled']) {
      call.once(end, () => {
        this.#ended = true;
        this.#changed();
      });
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<unknown, void, undefined> {
    for (;;) {
      // null: nothing yet.
      const request = this.#call.read();
      if (request !== null) {
        this.#onRequest(request);
        yield request;
      } else if (this.#ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#changed = resolve;
        });
      }
    }
  }

  /** Reads what is left. */
  async drain(): Promise<void> {
    const requests = this[Symbol.asyncIterator]();
    while (!(await requests.next()).done);
  }
}
