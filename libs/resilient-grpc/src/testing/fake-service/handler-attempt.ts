import { Metadata } from '@grpc/grpc-js';
import { isObservable } from 'rxjs';
import type { Attempt, AttemptEnd, AttemptListener } from '../../call/attempt.js';
import { isAsyncIterable, isIterable, messageSource } from '../../client/requests/message-source.js';
import type { MessageSource, MessageTaker } from '../../client/requests/message-taker.js';
import { StatusCode } from '../../status/status-code.js';
import { systemClock } from '../../time/clock.js';
import type { AnyHandler, FakeCall, FakeCallOutcome } from './fake-call.js';
import type { FakeMethod } from './fake-method.js';
import { FakeRequests } from './fake-requests.js';
import { grpcError } from './grpc-error.js';
import { HandlerFailure, toCallError } from './handler-failure.js';

/** What is written down of a call while it runs. */
export interface OpenRecord {
  request: unknown;
  outcome: FakeCallOutcome;
}

/** One run of a handler, in the place of an attempt on a wire. Nothing reaches its owner while he starts it. */
export class HandlerAttempt implements Attempt, MessageTaker {
  readonly peer = undefined;
  // As MessageTaker: an Observable may push what it likes, since nothing of it is bytes.
  readonly maxQueuedBytes = Infinity;
  readonly failsInOrder = true;

  private readonly requests: FakeRequests | undefined;
  private readonly abort = new AbortController();
  private answers: MessageSource | undefined;
  private listener: AttemptListener | undefined;
  private wanted = false;
  private pulling = false;
  /** Given by the handler and not handed on yet. */
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
    queueMicrotask(() => void this.run(this.requests));
  }

  // ── what the owner does ──

  send(message: unknown, written?: () => void): void {
    if (this.requests === undefined) {
      this.record.request = message;
      queueMicrotask(() => void this.run(message));
      return;
    }
    // True: it was made an array above.
    (this.record.request as unknown[]).push(message);
    this.requests.push(message, () => written?.());
  }

  halfClose(): void {
    this.requests?.end({ kind: 'done' });
  }

  startRead(): void {
    this.wanted = true;
    // Or an array would be read in one go, however long, one call inside the other.
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

  // ── what the handler does ──

  private async run(request: unknown): Promise<void> {
    if (this.listener === undefined) return;
    try {
      const answer: unknown = await this.handler(request, { ...this.call, signal: this.abort.signal });
      this.method.answersOnce = !isStream(answer);
      // What its caller has left meanwhile is opened all the same, so that it can be let go of.
      this.answers = messageSource(this.method.answersOnce ? [answer ?? {}] : answer, this);
      if (this.isOpen()) this.pull();
      else void this.answers.close();
    } catch (error) {
      this.onMessagesError(error);
    }
  }

  private pull(): void {
    if (!this.wanted || this.pulling || this.answers === undefined || !this.isOpen()) return;
    if (this.held !== undefined) {
      this.deliverHeld();
      return;
    }
    this.pulling = true;
    this.answers.pull();
  }

  onMessage(message: unknown): void {
    this.pulling = false;
    const { held } = this;
    this.held = { message };
    if (held !== undefined) this.deliver(held.message);
    else if (this.messagesReceived === 0 && this.answers?.complete === true) this.lookAhead();
    else this.deliverHeld();
  }

  /** `of(message)` is one message as much as the message itself: that nothing follows is known now. */
  private lookAhead(): void {
    this.pulling = true;
    this.answers?.pull();
  }

  private deliverHeld(): void {
    const { held } = this;
    this.held = undefined;
    if (held !== undefined) this.deliver(held.message);
  }

  private deliver(message: unknown): void {
    this.wanted = false;
    this.messagesReceived += 1;
    if (this.messagesReceived === 1) this.listener?.onHeaders(new Metadata());
    // Its owner may have ended it on hearing of the headers.
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
    // Ended on this side by its evidence, since then nobody repeats it: no policy runs in a fake.
    this.end({
      ...this.endOf(error.code, error.details, 'cancel'),
      metadata: error.metadata,
      cause: new HandlerFailure(error),
    });
  }

  encode(message: unknown): unknown {
    return message;
  }

  bytesOf(): number {
    return 0;
  }

  defer(task: () => void): void {
    systemClock.defer(task);
  }

  onEncodedMessage(message: unknown): void {
    this.onMessage(message);
  }

  onOverflow(): void {
    /* its bound is none */
  }

  onPushedAtOnce(): void {
    /* as above */
  }

  // ── the end ──

  private isOpen(): boolean {
    return this.listener !== undefined;
  }

  private end(end: AttemptEnd): void {
    const { listener } = this;
    if (listener === undefined) return;
    this.stop('answered');
    listener.onEnd(end);
  }

  /** Lets go of the handler, in whatever it is. */
  private stop(outcome: FakeCallOutcome): void {
    this.listener = undefined;
    this.record.outcome = outcome;
    if (outcome === 'cancelled') {
      const left = grpcError('CANCELLED', 'The caller has left', { reason: 'cancelled' });
      this.requests?.end({ kind: 'failed', error: left });
      this.abort.abort(left);
    } else {
      this.requests?.end({ kind: 'done' });
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

/** Messages, and not one message; bytes can be iterated too. */
export function isStream(value: unknown): boolean {
  if (value instanceof Uint8Array) return false;
  return isObservable(value) || isAsyncIterable(value) || isIterable(value);
}
