import type { ServerDuplexStream } from '@grpc/grpc-js';

/** A call as grpc-js passes it to a bidi handler. */
export type DuplexCall = ServerDuplexStream<unknown, unknown>;

/** Reads the requests of a call one at a time and only on demand, so that flow control works. */
export class ScriptedRequestReader implements AsyncIterable<unknown> {
  private onChange: () => void = () => undefined;
  private ended = false;

  constructor(
    private readonly call: DuplexCall,
    private readonly onRequest: (request: unknown) => void,
  ) {
    call.on('readable', () => this.onChange());
    for (const end of ['end', 'close', 'cancelled']) {
      call.once(end, () => {
        this.ended = true;
        this.onChange();
      });
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<unknown, void, undefined> {
    for (;;) {
      // `null` means that no request has arrived yet, or that the requests have ended.
      const request = this.call.read();
      if (request !== null) {
        this.onRequest(request);
        yield request;
      } else if (this.ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.onChange = resolve;
        });
      }
    }
  }

  /** Reads all remaining requests. */
  async drain(): Promise<void> {
    const requests = this[Symbol.asyncIterator]();
    while (!(await requests.next()).done);
  }
}
