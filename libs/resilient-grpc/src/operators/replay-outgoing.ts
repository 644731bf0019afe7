import { heldLimits } from '../policy/replay/held-limits.js';
import {
  ReplayLedger,
  type Acknowledgement,
  type LedgerEntry,
  type LedgerLimits,
} from '../policy/replay/replay-ledger.js';
import { show } from '../policy/service-config/problem.js';
import { MessageReader } from './message-reader.js';
import { sameId, tooMuchPushed } from './replay-failures.js';
import { ReplayIds, type ReplayId } from './replay-id.js';
import { replaySource, type ReplaySource, type SourceInput, type SourceTaker } from './replay-source.js';

/** How messages are sent, kept and acknowledged. */
export interface OutgoingRules<Out, Id extends ReplayId> {
  readonly id: (message: Out) => Id;
  readonly size: ((message: Out) => number) | undefined;
  readonly hello: (() => Out) | undefined;
  readonly acknowledgement: Acknowledgement;
  readonly limits: LedgerLimits;
}

/** The session whose messages they are. */
export interface OutgoingOwner {
  /** One that is kept was handed to the connection. */
  onSent(): void;
  /** The source has given all it had. */
  onSourceEnd(): void;
  /** The source, or what the user says of a message, is at fault: the session cannot go on. */
  onOutgoingError(error: unknown): void;
}

/**
 * The sending half of a session: takes messages from their source while there is room, keeps them until they are acknowledged,
 * and gives each connection a hello, what is kept, and then what is new.
 */
export class ReplayOutgoing<Out, Id extends ReplayId> implements SourceTaker<LedgerEntry<Id, Out>> {
  readonly #ledger: ReplayLedger<Id, Out>;
  readonly #source: ReplaySource;
  readonly #ids = new ReplayIds();
  /** Those of the connection of now. */
  #messages: AsyncIterable<Out> | undefined;
  #reader: MessageReader<Out> | undefined;
  #isHelloDue = false;
  /** This connection is sent nothing more. */
  #isRetiring = false;
  #isPulling = false;
  /** Taken from the source, and too large for the room there is. */
  #waiting: LedgerEntry<Id, Out> | undefined;
  #hasEnded = false;
  #isServing = false;

  constructor(
    input: SourceInput<Out>,
    private readonly rules: OutgoingRules<Out, Id>,
    private readonly owner: OutgoingOwner,
  ) {
    this.#ledger = new ReplayLedger(rules.limits);
    this.#source = replaySource(input, (message) => this.#entryOf(message), this, heldLimits(rules.limits));
  }

  /** Messages that are not acknowledged. */
  get unacknowledged(): number {
    return this.#ledger.size;
  }

  /** Those of them that were sent on this connection. */
  get awaited(): number {
    return this.#ledger.awaited;
  }

  /** The id of the message that is unacknowledged longest. */
  get oldest(): Id | undefined {
    return this.#ledger.oldest?.id;
  }

  /** The source has ended, and everything it gave is acknowledged. */
  get isSettled(): boolean {
    return this.#hasEnded && this.#ledger.size === 0 && this.#waiting === undefined;
  }

  open(): void {
    this.#source.open();
  }

  /** The messages of the next connection. Whoever iterates them again gets them from the start, and the one before ends. */
  connect(): AsyncIterable<Out> {
    this.disconnect();
    const messages: AsyncIterable<Out> = { [Symbol.asyncIterator]: () => this.#readerOf(messages) };
    this.#messages = messages;
    return messages;
  }

  /** The connection is gone: nothing is sent until the next. */
  disconnect(): void {
    this.#messages = undefined;
    this.#isRetiring = false;
    this.#reader?.end();
    this.#reader = undefined;
    this.#ledger.reconnect();
  }

  /** Sends nothing more on this connection, which is half-closed. */
  retire(): void {
    this.#isRetiring = true;
    this.#serve();
  }

  /** Takes what is acknowledged out; gives how many messages that were. @throws TypeError for what can be no id of one. */
  acknowledge(id: Id): number {
    const count = this.#ledger.acknowledge(this.#ids.ofAcknowledgement(id), this.rules.acknowledgement);
    if (count > 0) {
      this.#keepWaiting();
      this.#serve();
    }
    return count;
  }

  /** Asks the source for one more, if there is room: only so it shows that it has ended. Gives whether it answered at once. */
  lookAhead(): boolean {
    if (this.#isPulling || this.#hasEnded || this.#waiting !== undefined || this.#ledger.isFull) return false;
    this.#isPulling = true;
    this.#source.pull();
    return this.#hasAnswered();
  }

  /** Takes nothing more from the source; what was taken is still sent. */
  finish(): void {
    this.#source.close();
    this.#hasEnded = true;
    this.#serve();
  }

  /** The end of everything. */
  close(): void {
    this.#hasEnded = true;
    this.#source.close();
    this.disconnect();
  }

  onItem(entry: LedgerEntry<Id, Out>): void {
    this.#isPulling = false;
    if (this.#ledger.has(entry.id)) {
      this.owner.onOutgoingError(sameId(entry.id, this.unacknowledged));
      return;
    }
    this.#waiting = entry;
    this.#keepWaiting();
    this.#serve();
  }

  onSourceEnd(): void {
    this.#isPulling = false;
    this.#hasEnded = true;
    this.#serve();
    this.owner.onSourceEnd();
  }

  onSourceError(error: unknown): void {
    this.owner.onOutgoingError(error);
  }

  onOverflow(held: LedgerLimits): void {
    this.owner.onOutgoingError(tooMuchPushed(held, this.unacknowledged));
  }

  #readerOf(messages: AsyncIterable<Out>): MessageReader<Out> {
    const reader = new MessageReader<Out>(() => this.#serve());
    if (this.#messages !== messages) {
      reader.end();
      return reader;
    }
    this.#reader?.end();
    this.#reader = reader;
    this.#isHelloDue = this.rules.hello !== undefined;
    this.#ledger.reconnect();
    return reader;
  }

  /** Gives the connection what it asks for, as long as there is anything. */
  #serve(): void {
    // A source that answers at once calls back from inside.
    if (this.#isServing) return;
    this.#isServing = true;
    try {
      while (this.#serveOne());
    } catch (error) {
      this.owner.onOutgoingError(error);
    } finally {
      this.#isServing = false;
    }
  }

  /** Whether to go on. */
  #serveOne(): boolean {
    const reader = this.#reader;
    if (reader?.isWaiting !== true) return false;
    if (this.#isHelloDue) {
      this.#isHelloDue = false;
      // True: it is due where there is one.
      reader.give((this.rules.hello as () => Out)());
      return true;
    }
    const entry = this.#isRetiring ? undefined : this.#ledger.send();
    if (entry !== undefined) {
      reader.give(entry.message);
      this.owner.onSent();
      return true;
    }
    if (this.#isRetiring || (this.#hasEnded && this.#waiting === undefined)) {
      reader.end();
      return false;
    }
    return this.lookAhead();
  }

  #hasAnswered(): boolean {
    return !this.#isPulling;
  }

  /** What waits for room goes into the ledger when there is. */
  #keepWaiting(): void {
    const entry = this.#waiting;
    if (entry === undefined || !this.#ledger.fits(entry.bytes)) return;
    this.#waiting = undefined;
    this.#ledger.add(entry);
  }

  #entryOf(message: Out): LedgerEntry<Id, Out> {
    const { id, size } = this.rules;
    const bytes = size?.(message) ?? 0;
    if (!(bytes >= 0)) {
      throw new TypeError(`replayUnacknowledged.size: expected a number of 0 or more, got ${show(bytes)}`);
    }
    return { id: this.#ids.ofMessage(id(message)), message, bytes };
  }
}
