import { StreamIterator } from '../call/grpc-observable.js';
import type { StreamSink, StreamSource } from '../call/stream-source.js';
import { ReplayError } from '../errors/stream-errors.js';
import {
  bufferLimits,
  ReplayLedger,
  type Acknowledgment,
  type LedgerEntry,
  type LedgerLimits,
} from '../policy/replay/replay-ledger.js';
import { describeData } from '../policy/options/describe-value.js';
import { from, map, tap, type Observable, type ObservableInput } from 'rxjs';
import { IteratorSource, isAsyncIterable, isIterable } from '../call/iterator-source.js';
import { PlainSource, type HeldLimits } from './plain-source.js';

/** Id of a message. Compared like the keys of a Map: `5` and `'5'` are different. */
export type ReplayId = PropertyKey | bigint;

/** Rules for sending, keeping, and acknowledging outgoing messages. */
export interface OutgoingRules<Out, Id extends ReplayId> {
  readonly id: (message: Out) => Id;
  readonly size?: ((message: Out) => number) | undefined;
  readonly hello?: (() => Out) | undefined;
  /** @defaultValue 'single' */
  readonly acknowledgment?: Acknowledgment | undefined;
  readonly limits: LedgerLimits;
}

export interface OutgoingCallbacks {
  /** Called after a message that requires an acknowledgment was passed to the current call. */
  onSent(): void;
  /** Called after the source has completed. */
  onSourceEnd(): void;
  /** Called when a message cannot be read, buffered, or sent. The session cannot continue. */
  onOutgoingError(error: unknown): void;
}

/**
 * The sending half of a session. Reads messages from the source while there is room, and keeps them until they are acknowledged. On each
 * call, sends the hello, then the unacknowledged messages, then new messages.
 */
export class ReplayOutgoing<Out, Id extends ReplayId> implements StreamSink<LedgerEntry<Id, Out>> {
  private readonly ledger: ReplayLedger<Id, Out>;
  private readonly source: ReplaySource;
  private messages: AsyncIterable<Out> | undefined;
  private reader: StreamIterator<Out> | undefined;
  private sink: StreamSink<Out> | undefined;
  private isHelloDue = false;
  /** True if no more messages are sent on the current call. */
  private isRetiring = false;
  private isPulling = false;
  /** Message read from the source that does not fit into the ledger yet. */
  private waiting: LedgerEntry<Id, Out> | undefined;
  private hasEnded = false;
  private isServing = false;

  constructor(
    input: SourceInput<Out>,
    private readonly rules: OutgoingRules<Out, Id>,
    private readonly callbacks: OutgoingCallbacks,
  ) {
    this.ledger = new ReplayLedger(rules.limits);
    const entryOf = (message: Out): LedgerEntry<Id, Out> => this.entryOf(message);
    if (isPulled(input)) {
      this.source = new IterableReplaySource(input, entryOf, this);
    } else {
      // An error is delivered immediately, ahead of buffered messages, because the error ends the session anyway.
      const entries = input.pipe(map(entryOf), tap({ error: (error: unknown) => this.error(error) }));
      const limits: HeldLimits<LedgerEntry<Id, Out>> = {
        ...bufferLimits(rules.limits),
        bytesOf: ({ bytes }) => bytes,
        makeRoom: () => this.fillLedger(),
      };
      this.source = new PlainSource(entries, this, (held) => this.sourceOverflowed(held), limits, false);
    }
  }

  get unacknowledged(): number {
    return this.ledger.size;
  }

  /** Number of messages that were read from the source but are not in the ledger yet. */
  get queued(): number {
    return this.source.queued + (this.waiting === undefined ? 0 : 1);
  }

  /** Number of unacknowledged messages that were sent on the current call. */
  get awaited(): number {
    return this.ledger.awaited;
  }

  get oldest(): Id | undefined {
    return this.ledger.oldest?.id;
  }

  /** True if nothing more is read from the source and every message is acknowledged. */
  get isSettled(): boolean {
    return this.hasEnded && this.ledger.size === 0 && this.waiting === undefined;
  }

  open(): void {
    this.source.begin();
  }

  /** Ends the messages of the current call and returns those of the next. */
  startCall(): AsyncIterable<Out> {
    this.endCall();
    const messages: AsyncIterable<Out> = { [Symbol.asyncIterator]: () => this.readerOf(messages) };
    this.messages = messages;
    return messages;
  }

  /** Ends the messages of the current call. Nothing is sent until the next `startCall`. */
  endCall(): void {
    this.messages = undefined;
    this.isRetiring = false;
    void this.reader?.return();
    this.reader = undefined;
    this.ledger.startCall();
  }

  retire(): void {
    this.isRetiring = true;
    this.serve();
  }

  /** Removes the acknowledged messages and returns their number. @throws TypeError if `id` cannot be the id of a message. */
  acknowledge(id: Id): number {
    requireId(id, 'acknowledges');
    const count = this.ledger.acknowledge(id, this.rules.acknowledgment ?? 'single');
    if (count > 0) {
      this.moveWaitingToLedger();
      this.serve();
    }
    return count;
  }

  /** Pulls one message from the source if there is room. Returns true if the source responded synchronously. */
  lookAhead(): boolean {
    if (this.isPulling || this.hasEnded || this.waiting !== undefined || this.ledger.isFull) return false;
    this.isPulling = true;
    this.source.resumeReading();
    return this.hasAnswered();
  }

  /** Stops reading from the source. Messages already read are still sent. */
  finish(): void {
    if (!this.hasEnded) this.source.finish();
  }

  close(): void {
    this.hasEnded = true;
    this.source.unsubscribe();
    this.endCall();
  }

  /** Receives a message from the source. Returns true if the next message has already been requested. */
  next(entry: LedgerEntry<Id, Out>): boolean {
    this.isPulling = false;
    if (this.ledger.has(entry.id)) {
      const message = `A second message with id ${describeData(entry.id)} arrived before the first was acknowledged; give each message a unique id`;
      this.callbacks.onOutgoingError(new ReplayError('duplicate-id', message, this.unacknowledged));
      return false;
    }
    this.waiting = entry;
    this.moveWaitingToLedger();
    this.serve();
    return !this.hasAnswered();
  }

  complete(): void {
    this.isPulling = false;
    this.hasEnded = true;
    this.serve();
    this.callbacks.onSourceEnd();
  }

  error(error: unknown): void {
    this.callbacks.onOutgoingError(error);
  }

  /** Moves buffered messages into the ledger while there is room. */
  private fillLedger(): void {
    while (this.lookAhead());
  }

  private sourceOverflowed(held: LedgerLimits): void {
    const { unacknowledged } = this;
    const message =
      `The source pushed more than the buffers hold: ${messageCount(unacknowledged)} unacknowledged, ${messageCount(held.messages)} queued; ` +
      'pass an AsyncIterable, which can be paused, or raise maxUnacknowledged (or maxUnacknowledgedBytes)';
    this.callbacks.onOutgoingError(new ReplayError('source-too-fast', message, unacknowledged));
  }

  private readerOf(messages: AsyncIterable<Out>): StreamIterator<Out> {
    const serve = (): void => this.serve();
    const reader = new StreamIterator<Out>((sink) => {
      this.sink = sink;
      return { prefetch: 0, begin: serve, resumeReading: serve, unsubscribe: () => undefined };
    });
    if (this.messages !== messages) {
      void reader.return();
      return reader;
    }
    void this.reader?.return();
    this.reader = reader;
    this.isHelloDue = this.rules.hello !== undefined;
    this.ledger.startCall();
    return reader;
  }

  /** Serves the current call's pending reads while messages are available. */
  private serve(): void {
    // A synchronous source calls this method recursively. The running loop then serves the read.
    if (this.isServing) return;
    this.isServing = true;
    try {
      while (this.serveOne());
    } catch (error) {
      this.callbacks.onOutgoingError(error);
    } finally {
      this.isServing = false;
    }
  }

  /** Serves one pending read. Returns true if another read can follow. */
  private serveOne(): boolean {
    const { reader, sink } = this;
    if (reader?.waiting !== true || sink === undefined) return false;
    if (this.isHelloDue) {
      this.isHelloDue = false;
      // The cast is safe: `isHelloDue` is set only if `hello` is given.
      sink.next((this.rules.hello as () => Out)());
      return true;
    }
    const entry = this.isRetiring ? undefined : this.ledger.send();
    if (entry !== undefined) {
      sink.next(entry.message);
      this.callbacks.onSent();
      return true;
    }
    if (this.isRetiring || (this.hasEnded && this.waiting === undefined)) {
      void reader.return();
      return false;
    }
    return this.lookAhead();
  }

  private hasAnswered(): boolean {
    return !this.isPulling;
  }

  private moveWaitingToLedger(): void {
    const entry = this.waiting;
    if (entry === undefined || !this.ledger.fits(entry.bytes)) return;
    this.waiting = undefined;
    this.ledger.add(entry);
  }

  private entryOf(message: Out): LedgerEntry<Id, Out> {
    const { id, size } = this.rules;
    const bytes = size?.(message) ?? 0;
    if (!(bytes >= 0)) {
      throw new TypeError(`replayUnacknowledged.size: expected a number of 0 or more, got ${describeData(bytes)}`);
    }
    const messageId = id(message);
    requireId(messageId, 'id');
    return { id: messageId, message, bytes };
  }
}

const ID_TYPES: readonly string[] = ['string', 'number', 'bigint', 'symbol'];

/** @throws TypeError for an id that never matches, such as the Long of a 64-bit field: the session would stall. */
function requireId(id: unknown, key: string): void {
  if (ID_TYPES.includes(typeof id)) return;
  const remedy = typeof id === 'object' && id !== null ? '; convert a Long with String(…)' : '';
  const expected = 'a string, number, bigint, or symbol';
  throw new TypeError(`replayUnacknowledged.${key}: expected ${expected}, got ${describeData(id)}${remedy}`);
}

export function messageCount(messages: number): string {
  return messages === 1 ? '1 message' : `${String(messages)} messages`;
}

export type SourceInput<M> = AsyncIterable<M> | Iterable<M> | Observable<M>;

/** Returns `input` as an iterable or an Observable; `undefined` if RxJS does not accept it as a source. */
export function toSourceInput<M>(input: ObservableInput<M>): SourceInput<M> | undefined {
  if (isPulled(input)) return input;
  try {
    return from(input);
  } catch {
    return undefined;
  }
}

/**
 * The source of a session, paused at first. An iterable is pulled; this includes gRPC calls, which are AsyncIterables. For an Observable,
 * `begin` subscribes to it and buffers its messages, up to limits.
 */
interface ReplaySource extends StreamSource {
  /** Number of messages that have been read but not yet delivered. */
  readonly queued: number;
  /** Stops reading, if the source has not ended. Messages already read are still delivered, then the completion. */
  finish(): void;
}

class IterableReplaySource<M, T> implements ReplaySource {
  readonly prefetch = 1;
  readonly queued = 0;
  private source: IteratorSource<M> | undefined;

  constructor(
    private readonly input: AsyncIterable<M> | Iterable<M>,
    private readonly itemOf: (message: M) => T,
    private readonly sink: StreamSink<T>,
  ) {}

  begin(): void {
    // Iteration starts with the first `resumeReading`.
  }

  resumeReading(): void {
    const { input, sink } = this;
    try {
      this.source ??= new IteratorSource(
        Symbol.asyncIterator in input ? input[Symbol.asyncIterator]() : input[Symbol.iterator](),
        {
          onMessage: (message) => this.take(message),
          onMessagesEnd: () => sink.complete(),
          onMessagesError: (error) => sink.error(error),
        },
      );
    } catch (error) {
      sink.error(error);
      return;
    }
    this.source.pull();
  }

  finish(): void {
    this.unsubscribe();
    this.sink.complete();
  }

  unsubscribe(): void {
    void this.source?.close();
  }

  private take(message: M): void {
    let item: T;
    try {
      item = this.itemOf(message);
    } catch (error) {
      this.sink.error(error);
      return;
    }
    this.sink.next(item);
  }
}

function isPulled<M>(input: ObservableInput<M>): input is AsyncIterable<M> | Iterable<M> {
  return isAsyncIterable(input) || isIterable(input);
}
