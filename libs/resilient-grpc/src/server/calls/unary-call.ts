import { isObservable, type Observable, type Subscription } from 'rxjs';
import { StatusCode } from '../../status/status-code.js';
import { IteratorSource, isAsyncIterable, isIterable, isThenable } from '../../call/iterator-source.js';
import { ServedCall } from './served-call.js';
import { errorOf, type StatusLike } from './wire-call.js';

/**
 * Unary or client-streaming call. If its handler returns an Observable, a unary call responds with the first value without waiting for
 * completion, as in Nest; a client-streaming call responds with the last value on completion. A generator is pulled until it ends, and must
 * yield exactly one value. An interceptor can make an Observable emit the generator of the handler, or a promise of it; the generator is
 * then pulled in the same way.
 */
export class UnaryCall extends ServedCall {
  private subscription: Subscription | undefined;
  private subscribing = false;
  private hasValue = false;
  private value: unknown;
  protected responded = false;
  /** The running generator that provides the response; `undefined` if absent, closed, or ended. */
  private generator: IteratorSource<unknown> | undefined;
  /** True while the generator or promise that provides the response runs. A closed generator still runs until its next `yield`. */
  private isPending = false;

  protected override releaseHandler(): void {
    try {
      this.subscription?.unsubscribe();
    } finally {
      this.closeGenerator();
    }
  }

  private closeGenerator(): void {
    const { generator } = this;
    if (generator === undefined) return;
    this.generator = undefined;
    const closing = generator.close();
    if (closing === undefined) this.releaseGenerator();
    else {
      void closing.then(() => {
        this.releaseGenerator();
      });
    }
  }

  private releaseGenerator(): void {
    this.isPending = false;
    this.release();
  }

  protected override release(): void {
    if (!this.isPending) super.release();
  }

  protected override send(status: StatusLike): void {
    this.responded = true;
    this.callback?.(errorOf(this.withTrailers(status)));
    this.end(status.code);
  }

  protected override onResult(result: unknown): void {
    if (isObservable(result)) {
      if (this.over) this.release();
      else this.follow(result);
    } else if (isGenerator(result)) {
      this.pull(result);
    } else {
      // Set before the response, because the handler would otherwise count as outliving its call.
      this.done = true;
      this.respond(result);
      this.notifyDone();
    }
  }

  private follow(source: Observable<unknown>): void {
    this.subscribing = true;
    const subscription = source.subscribe({
      next: (value) => {
        this.take(value);
      },
      error: (error: unknown) => {
        this.onError(error);
      },
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
      this.refuseSecond();
    } else {
      this.hasValue = true;
      this.value = value;
      // A second value emitted synchronously is an error; a later value can no longer change the status of the call.
      if (!this.subscribing) this.respond(value);
    }
  }

  private refuseSecond(): void {
    if (this.over) return;
    this.send({ code: StatusCode.INTERNAL, details: `The handler of ${this.method.path} emitted a second response` });
    this.releaseHandlerQuietly();
  }

  private complete(): void {
    if (isGenerator(this.value) || isThenable(this.value)) {
      // The handler is not marked as ended here, because it ends with its generator or promise.
      this.respond(this.value);
      return;
    }
    // Set before the response; see `onResult`.
    this.done = true;
    if (this.hasValue) this.respond(this.value);
    else this.failWithoutResponse();
    this.notifyDone();
  }

  private failWithoutResponse(): void {
    if (this.over) return;
    const details = `The handler of ${this.method.path} completed without a response`;
    this.send({ code: StatusCode.INTERNAL, details });
  }

  private respond(value: unknown): void {
    if (this.responded || this.over) return;
    this.responded = true;
    this.settle(value, (error) => {
      this.onError(error);
    });
  }

  private settle(value: unknown, onRejected: (error: unknown) => void): void {
    if (isThenable(value)) {
      this.isPending = true;
      value.then((settled) => {
        if (isGenerator(settled)) this.pull(settled);
        else this.settled(settled);
      }, onRejected);
    } else if (isGenerator(value)) this.pull(value);
    else this.answer(value);
  }

  /** Sends the value of a promise. The handler ends with the promise, unless an Observable emitted the promise and has not completed. */
  private settled(value: unknown): void {
    if (this.subscription?.closed === true) {
      this.endHandler(() => {
        this.answer(value);
      });
      return;
    }
    this.isPending = false;
    this.answer(value);
  }

  /** Pulls the response, then the end of the generator, so that code after the `yield` runs and can fail the call. */
  private pull(generator: Generated): void {
    let response: { readonly value: unknown } | undefined;
    const onError = (error: unknown): void => {
      this.endHandler(() => {
        // Nest's filters do not receive errors of generators.
        if (!this.over) this.send(this.failureStatus(error, false));
      });
    };
    const source = new IteratorSource(generator, {
      onMessage: (value) => {
        if (response === undefined) {
          response = { value };
          source.pull();
        } else this.refuseSecond();
      },
      onMessagesEnd: () => {
        this.endHandler(() => {
          if (response === undefined) this.failWithoutResponse();
          else this.settle(response.value, onError);
        });
      },
      onMessagesError: onError,
    });
    this.responded = true;
    this.generator = source;
    this.isPending = true;
    if (this.over) this.releaseHandlerQuietly();
    else source.pull();
  }

  /** Marks the handler as ended before `respond` sends the response; see `onResult`. */
  private endHandler(respond: () => void): void {
    const ends = !this.done;
    this.generator = undefined;
    this.isPending = false;
    this.done = true;
    respond();
    if (ends) this.notifyDone();
  }

  protected answer(value: unknown): void {
    if (this.over) return;
    this.sent = 1;
    const trailers = this.okTrailers;
    if (trailers === undefined) this.callback?.(null, value);
    else this.callback?.(null, value, trailers);
    this.end(StatusCode.OK);
  }

  protected override onError(error: unknown, filtered = true): void {
    const ends = !this.done;
    this.done = true;
    if (!this.over) this.send(this.failureStatus(error, filtered));
    if (ends) this.notifyDone();
    // If the Observable failed after it had emitted a generator, the generator must be closed.
    if (this.generator !== undefined) this.releaseHandlerQuietly();
  }
}

type Generated = AsyncIterator<unknown> | Iterator<unknown>;

/** True if the value is a generator, possibly a compiled one, or another iterable iterator that can be closed. */
function isGenerator(value: unknown): value is Generated {
  if (!isAsyncIterable(value) && !isIterable(value)) return false;
  return 'next' in value && typeof value.next === 'function' && 'return' in value && typeof value.return === 'function';
}
