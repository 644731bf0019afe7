import { isObservable, type Observable, type Subscription } from 'rxjs';
import { StatusCode } from '../../status/status-code.js';
import { isThenable } from '../../call/iterator-source.js';
import { ServedCall, type CallHost, type ServedMethod } from './served-call.js';
import type { AnswerCallback, StatusLike, WireCall } from './wire-call.js';

/**
 * Unary or client-streaming call. If its handler returns an Observable, a unary call responds with the first value without waiting for
 * completion, as in Nest; a client-streaming call responds with the last value on completion.
 */
export class UnaryCall extends ServedCall {
  private subscription: Subscription | undefined;
  private subscribing = false;
  private hasValue = false;
  private value: unknown;
  private responded = false;

  constructor(
    wire: WireCall,
    private readonly callback: AnswerCallback,
    method: ServedMethod,
    host: CallHost,
    onDone?: () => void,
  ) {
    super(wire, method, host, onDone);
  }

  protected override releaseHandler(): void {
    this.subscription?.unsubscribe();
  }

  protected override send(status: StatusLike): void {
    this.responded = true;
    this.callback(this.withTrailers(status));
    this.end(status.code);
  }

  protected override readonly onResult = (result: unknown): void => {
    if (!isObservable(result)) {
      // Set before the response, because the handler would otherwise count as outliving its call.
      this.done = true;
      this.respond(result);
      this.notifyDone();
    } else if (this.over) {
      this.release();
    } else {
      this.follow(result);
    }
  };

  private follow(source: Observable<unknown>): void {
    this.subscribing = true;
    const subscription = source.subscribe({
      next: (value) => {
        this.take(value);
      },
      error: this.onError,
      complete: () => {
        this.complete();
      },
    });
    this.subscribing = false;
    this.subscription = subscription;
    // Runs on completion, on error, and on unsubscription.
    subscription.add(() => {
      this.release();
    });
    if (this.over) this.releaseHandlerQuietly();
    else if (this.hasValue && this.method.kind === 'unary') this.respond(this.value);
  }

  private take(value: unknown): void {
    if (this.method.kind !== 'unary') {
      this.hasValue = true;
      this.value = value;
    } else if (this.responded) {
      const { events } = this.host;
      if (events.wanted) events.emit({ type: 'extra-response', path: this.method.path });
    } else if (this.hasValue) {
      this.send({ code: StatusCode.INTERNAL, details: `The handler of ${this.method.path} emitted a second response` });
      this.releaseHandlerQuietly();
    } else {
      this.hasValue = true;
      this.value = value;
      // A second value emitted synchronously is an error; a later value can no longer change the status of the call.
      if (!this.subscribing) this.respond(value);
    }
  }

  private complete(): void {
    // Set before the response; see `onResult`.
    this.done = true;
    if (this.hasValue) this.respond(this.value);
    else if (!this.over) {
      const details = `The handler of ${this.method.path} completed without a response`;
      this.send({ code: StatusCode.INTERNAL, details });
    }
    this.notifyDone();
  }

  private respond(value: unknown): void {
    if (this.responded || this.over) return;
    this.responded = true;
    if (!isThenable(value)) {
      this.answer(value);
      return;
    }
    value.then((settled) => {
      this.answer(settled);
    }, this.onError);
  }

  private answer(value: unknown): void {
    if (this.over) return;
    this.sent = 1;
    const trailers = this.okTrailers;
    if (trailers === undefined) this.callback(null, value);
    else this.callback(null, value, trailers);
    this.end(StatusCode.OK);
  }

  protected override readonly onError = (error: unknown): void => {
    const ends = !this.done;
    this.done = true;
    if (!this.over) this.send(this.failureStatus(error, true));
    if (ends) this.notifyDone();
  };
}
