import type { Clock, Timer } from '../../time/clock.js';
import type { StreamReceiver } from '../../transport/http2/events.js';
import type { ServerStream } from '../../transport/http2/server-stream.js';
import type { StatusLike } from '../calls/wire-call.js';
import { sendFields, sendStatus } from './response-fields.js';

/** Milliseconds within which a request that is not gRPC must end to be answered at its end, as HTTP's clients expect. */
const FOREIGN_WAIT_MS = 5_000;

/** The answer to a request that no handler gets. */
export type Rejection =
  | { readonly kind: 'grpc'; readonly status: StatusLike }
  | { readonly kind: 'http'; readonly code: number; readonly text: string };

/**
 * A request that is answered without a handler. A gRPC request is answered in the next turn at the latest: if it has ended by then, nothing
 * needs to tell the client to stop. The rest of its body is dropped.
 */
export class RejectedRequest implements StreamReceiver {
  private timer: Timer | undefined;
  private isDone = false;

  constructor(
    private readonly stream: ServerStream,
    private readonly rejection: Rejection,
    isEnd: boolean,
    clock: Clock,
  ) {
    if (isEnd) this.answer();
    else if (rejection.kind === 'grpc') clock.defer(this.answer);
    else this.timer = clock.setTimer(this.answer, FOREIGN_WAIT_MS);
  }

  headers(): void {
    this.answer();
  }

  data(): void {
    // Dropped.
  }

  dataEnds(isEnd: boolean): void {
    this.stream.credit(0);
    if (isEnd) this.answer();
  }

  failed(): void {
    this.end();
  }

  drained(): void {
    // The answer does not wait.
  }

  private readonly answer = (): void => {
    if (this.isDone) return;
    const { stream, rejection } = this;
    if (rejection.kind === 'grpc') sendStatus(stream, false, rejection.status);
    else {
      const text = Buffer.from(`${rejection.text}\n`);
      sendFields(stream, [':status', String(rejection.code), 'content-type', 'text/plain'], false);
      stream.sendBody(text);
    }
    this.end();
  };

  private end(): void {
    this.isDone = true;
    this.timer?.clear();
    this.stream.release();
  }
}
