import { isObservable, type Subscription } from 'rxjs';
import { StatusCode } from '../../status/status-code.js';
import { ServedCall, type CallHost, type ServedMethod } from './served-call.js';
import { endStream, errorOf, type AnswerCallback, type StatusLike, type WireCall } from './wire-call.js';

/**
 * Call whose handler owns the grpc-js stream (`@GrpcStreamCall`): the handler reads, writes, and ends it. If the call ends early, its
 * `AbortSignal` (`@CallSignal()`) is aborted, and an Observable that the handler returned is unsubscribed.
 */
export class PassThroughCall extends ServedCall {
  private subscription: Subscription | undefined;
  private code: number = StatusCode.OK;

  constructor(
    wire: WireCall,
    private readonly callback: AnswerCallback | undefined,
    method: ServedMethod,
    host: CallHost,
    onDone?: () => void,
  ) {
    super(wire, method, host, onDone);
  }

  protected override callHandler(): unknown {
    const { handler } = this.method;
    return this.callback === undefined ? handler(this.wire) : handler(this.wire, this.answer);
  }

  protected override releaseHandler(): void {
    this.subscription?.unsubscribe();
  }

  protected override send(status: StatusLike): void {
    this.code = status.code;
    if (this.callback === undefined) {
      endStream(this.wire, status);
      return;
    }
    this.callback(errorOf(status));
    this.end(status.code);
  }

  protected override onWireEnd(): void {
    // The handler ended the call with `call.end()` or an error; grpc-js sends the status.
    if (this.wire.writableEnded) this.end(this.code);
    else super.onWireEnd();
  }

  private readonly answer: AnswerCallback = (error, value, ...trailers) => {
    if (this.over) return;
    this.sent = 1;
    this.callback?.(error, value, ...trailers);
    this.end(error === null || error === undefined ? StatusCode.OK : error.code);
  };

  protected override readonly onResult = (result: unknown): void => {
    if (!isObservable(result) || this.over) {
      this.release();
      return;
    }
    this.subscription = result.subscribe({ error: this.onError });
    this.subscription.add(() => {
      this.release();
    });
  };

  protected override readonly onError = (error: unknown, filtered = true): void => {
    if (!this.over && !this.wire.writableEnded) this.send(this.failureStatus(error, filtered));
    this.release();
  };
}
