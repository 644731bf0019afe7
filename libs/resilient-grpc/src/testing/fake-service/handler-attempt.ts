import { Metadata } from '@grpc/grpc-js';
import { isObservable } from 'rxjs';
import type { Attempt, AttemptEnd, AttemptListener } from '../../call/attempt.js';
import { StreamIterator } from '../../call/grpc-observable.js';
import { InterceptedMessage } from '../../call/intercepted-message.js';
import { isAsyncIterable, isIterable } from '../../call/iterator-source.js';
import type { StreamSink } from '../../call/stream-source.js';
import { messageSource } from '../../client/requests/request-source.js';
import type { RequestSource, UnlimitedConsumer } from '../../client/requests/message-consumer.js';
import { GrpcCallError } from '../../errors/grpc-call-error.js';
import { StatusCode } from '../../status/status-code.js';
import type { AnyHandler, FakeCall, FakeCallOutcome, FakeMethod } from './fake-context.js';
import { FAKE_CLIENT, grpcError, toCallError } from './grpc-error.js';

export interface OpenRecord {
  request: unknown;
  outcome: FakeCallOutcome;
}

/** Runs a handler in place of an attempt on the wire. Never calls its listener synchronously while the attempt is being started. */
export class HandlerAttempt implements Attempt, UnlimitedConsumer {
  readonly peer = undefined;
  readonly failsInOrder = true;

  private readonly requests: FakeRequests | undefined;
  private readonly abort = new AbortController();
  private answers: RequestSource | undefined;
  private listener: AttemptListener | undefined;
  private isReadPending = false;
  private isPulling = false;
  /** A message from the handler that has not been delivered yet. */
  private held: { readonly message: unknown } | undefined;
  private messagesReceived = 0;

  constructor(
    private readonly method: FakeMethod,
    listener: AttemptListener,
    private readonly handler: AnyHandler,
    private readonly call: Omit<FakeCall, 'signal'>,
    private readonly record: OpenRecord,
  ) {
    this.listener = listener;
    if (!method.requestStream) return;
    this.requests = new FakeRequests();
    record.request = [];
    queueMicrotask(() => void this.run(this.requests?.messages));
  }

  // ── operations of the client ──

  send(sent: unknown, written?: () => void): void {
    const message = sent instanceof InterceptedMessage ? sent.take() : sent;
    if (this.requests === undefined) {
      this.record.request = message;
      queueMicrotask(() => void this.run(message));
      return;
    }
    // Safe cast: the constructor has set an array.
    (this.record.request as unknown[]).push(message);
    this.requests.push(message, () => written?.());
  }

  halfClose(): void {
    this.requests?.end((sink) => sink.complete());
  }

  startRead(): void {
    this.isReadPending = true;
    // Deferred, because reading an array would otherwise recurse once per element.
    queueMicrotask(() => {
      this.pull();
    });
  }

  cancel(why: AttemptEnd['endedHere'], code: number, details: string): void {
    if (this.listener === undefined) return;
    const { listener } = this;
    this.stop('cancelled');
    queueMicrotask(() => {
      listener.onEnd(this.endOf(code, details, why));
    });
  }

  abandon(): void {
    if (this.listener !== undefined) this.stop('cancelled');
  }

  // ── events of the handler ──

  private async run(request: unknown): Promise<void> {
    if (this.listener === undefined) return;
    try {
      const answer: unknown = await this.handler(request, { ...this.call, signal: this.abort.signal });
      this.method.answersOnce = !isStream(answer);
      // The result is opened even if the call has been cancelled, because only an open result can be closed.
      this.answers = messageSource(this.method.answersOnce ? [answer ?? {}] : answer, this);
      this.answers.open?.();
      if (this.isOpen()) this.pull();
      else void this.answers.close();
    } catch (error) {
      this.onMessagesError(error);
    }
  }

  private pull(): void {
    if (!this.isReadPending || this.isPulling || this.answers === undefined || !this.isOpen()) return;
    if (this.held !== undefined) {
      this.deliverHeld();
      return;
    }
    this.isPulling = true;
    this.answers.pull();
  }

  onMessage(message: unknown): void {
    this.isPulling = false;
    const { held } = this;
    this.held = { message };
    if (held !== undefined) this.deliver(held.message);
    else if (this.messagesReceived === 0 && this.answers?.complete === true) {
      // Checks whether the source ends after its first message, so that `of(message)` is treated as a single message.
      this.isPulling = true;
      this.answers.pull();
    } else this.deliverHeld();
  }

  private deliverHeld(): void {
    const { held } = this;
    this.held = undefined;
    if (held !== undefined) this.deliver(held.message);
  }

  private deliver(message: unknown): void {
    this.isReadPending = false;
    this.messagesReceived += 1;
    if (this.messagesReceived === 1) this.listener?.onHeaders({ metadata: new Metadata(), contentType: undefined });
    // Delivers the message only if the listener has not cancelled the attempt in `onHeaders`.
    this.listener?.onMessage(message);
  }

  onMessagesEnd(): void {
    if (this.held !== undefined) this.method.answersOnce = true;
    this.deliverHeld();
    this.end(this.endOf(StatusCode.OK, '', 'no'));
  }

  onMessagesError(thrown: unknown): void {
    this.deliverHeld();
    const error = toCallError(thrown);
    // Reports the end as if the client had cancelled the attempt, so that the call is never retried. Call policies do not apply to a fake.
    this.end({
      ...this.endOf(error.code, error.details, 'cancel'),
      metadata: error.metadata,
      cause: new HandlerFailure(error),
    });
  }

  // ── end of the call ──

  private isOpen(): boolean {
    return this.listener !== undefined;
  }

  private end(end: AttemptEnd): void {
    const { listener } = this;
    if (listener === undefined) return;
    this.stop('answered');
    listener.onEnd(end);
  }

  /** Ends the handler's requests, aborts its signal if the call was cancelled, and closes its responses. */
  private stop(outcome: FakeCallOutcome): void {
    this.listener = undefined;
    this.record.outcome = outcome;
    if (outcome === 'cancelled') {
      const cancellation = grpcError('CANCELLED', 'The call was cancelled', { reason: 'cancelled' });
      this.requests?.end((sink) => sink.error(cancellation));
      this.abort.abort(cancellation);
    } else {
      this.requests?.end((sink) => sink.complete());
    }
    void this.answers?.close();
  }

  private endOf(code: number, details: string, endedHere: AttemptEnd['endedHere']): AttemptEnd {
    return {
      code,
      details,
      endedHere,
      metadata: new Metadata(),
      peer: undefined,
      connection: undefined,
      picked: true,
      channelReady: true,
      headersReceived: this.messagesReceived > 0,
      messagesReceived: this.messagesReceived,
      contentType: 'application/grpc',
    };
  }
}

/** True if `value` is a stream of messages. Bytes are iterable but are a single message. */
export function isStream(value: unknown): boolean {
  if (value instanceof Uint8Array) return false;
  return isObservable(value) || isAsyncIterable(value) || isIterable(value);
}

/** Carries a handler's error through the call that the error ends. */
export class HandlerFailure {
  constructor(private readonly error: GrpcCallError) {}

  /** Returns the handler's error as the error of its call, with the path of `callError`. */
  errorFor(callError: GrpcCallError): GrpcCallError {
    const { error } = this;
    return new GrpcCallError({
      code: error.code,
      details: error.details,
      metadata: error.metadata,
      client: FAKE_CLIENT,
      path: callError.path,
      peer: error.peer,
      reason: error.reason,
      // If a response has started, the request has reached the server, regardless of the reason for the end of the call.
      reachedServer: callError.reachedServer === 'yes' ? 'yes' : error.reachedServer,
      attempts: error.attempts.length > 0 ? error.attempts : callError.attempts,
      notRetriedBecause: error.notRetriedBecause,
      retryAfterMs: error.retryAfterMs,
      cause: error.cause ?? error,
    });
  }
}

/** The request stream that a handler reads. The next message is taken from the caller only after the handler has read the current one. */
class FakeRequests {
  readonly messages: StreamIterator<unknown> = new StreamIterator((sink) => {
    this.sink = sink;
    const serve = (): void => this.serve();
    return { prefetch: 0, begin: serve, resumeReading: serve, unsubscribe: () => undefined };
  });
  private sink: StreamSink<unknown> | undefined;
  private sent: { readonly message: unknown; readonly taken: () => void } | undefined;
  private endWith: ((sink: StreamSink<unknown>) => void) | undefined;

  /** Adds a message from the caller. At most one message is in flight. */
  push(message: unknown, taken: () => void): void {
    if (this.endWith === undefined) this.sent = { message, taken };
    this.serve();
  }

  end(endWith: (sink: StreamSink<unknown>) => void): void {
    this.endWith ??= endWith;
    this.serve();
  }

  private serve(): void {
    const { sent, sink } = this;
    if (sink === undefined || !this.messages.waiting) return;
    this.sent = undefined;
    if (sent === undefined) this.endWith?.(sink);
    else {
      sink.next(sent.message);
      sent.taken();
    }
  }
}
