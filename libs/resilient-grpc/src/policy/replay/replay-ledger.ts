/** Bytes counted per buffered message in addition to its size. */
export const MESSAGE_OVERHEAD_BYTES = 128;

/** Limits the bytes of requests that a client buffers for further attempts, per call and for all calls together. */
export class ReplayLimits {
  used = 0;

  constructor(
    private readonly perCall: number,
    private readonly perClient: number,
  ) {}

  /** Adds `bytes` for a call that already buffers `kept` bytes. Returns false and adds nothing if a limit would be exceeded. */
  take(bytes: number, kept: number): boolean {
    if (kept + bytes > this.perCall || this.used + bytes > this.perClient) return false;
    this.used += bytes;
    return true;
  }

  release(bytes: number): void {
    this.used -= bytes;
  }
}

// Minimum limits of the buffer for a source that cannot be paused, in messages and bytes. They permit a burst from an Observable, but not
// endless emission.
const MIN_MESSAGES = 1_000;
const MIN_BYTES = 2 ** 20;

/** Scope of an acknowledgment: only the identified message, or also all messages sent before it. */
export type Acknowledgment = 'single' | 'cumulative';

export interface LedgerEntry<Id, Message> {
  readonly id: Id;
  readonly message: Message;
  /** Size of the message; 0 if bytes are not counted. */
  readonly bytes: number;
}

export interface LedgerLimits {
  /** Maximum number of messages; 1 or more. */
  readonly messages: number;
  /** Maximum number of bytes; Infinity if bytes are not counted. */
  readonly bytes: number;
}

/** Returns the buffer limits for a source that cannot be paused: `limits`, raised to the size of a burst. */
export function bufferLimits(limits: LedgerLimits): LedgerLimits {
  return { messages: Math.max(limits.messages, MIN_MESSAGES), bytes: Math.max(limits.bytes, MIN_BYTES) };
}

interface Kept<Id, Message> {
  readonly entry: LedgerEntry<Id, Message>;
  /** Number of the call on which the message was last sent; 0 if it was never sent. */
  callNumber: number;
}

/** Unacknowledged messages in send order, with the send position of the current call. */
export class ReplayLedger<Id, Message> {
  // A Map keeps the order, and its iterators skip removed messages. Neither iterator is read beyond the last message, because an iterator
  // that has ended would miss messages that are added later.
  private readonly kept = new Map<Id, Kept<Id, Message>>();
  private unsent = this.kept.values();
  /** Created for the first cumulative acknowledgment, because an iterator that is never read would retain removed messages. */
  private uncovered: MapIterator<Kept<Id, Message>> | undefined;
  private callNumber = 1;
  bytes = 0;
  /** Number of unacknowledged messages sent on the current call. */
  awaited = 0;

  constructor(private readonly limits: LedgerLimits) {}

  get size(): number {
    return this.kept.size;
  }

  get oldest(): LedgerEntry<Id, Message> | undefined {
    return this.kept.values().next().value?.entry;
  }

  get isFull(): boolean {
    return this.size >= this.limits.messages || this.bytes >= this.limits.bytes;
  }

  has(id: Id): boolean {
    return this.kept.has(id);
  }

  /** True if a message of `bytes` fits. A message that is larger than the byte limit fits only if the ledger is empty. */
  fits(bytes: number): boolean {
    return this.size === 0 || (this.size < this.limits.messages && this.bytes + bytes <= this.limits.bytes);
  }

  /** Appends a message, which must fit and have a new id. */
  add(entry: LedgerEntry<Id, Message>): void {
    this.kept.set(entry.id, { entry, callNumber: 0 });
    this.bytes += entry.bytes;
  }

  /** Starts a new call, on which all messages are sent again from the first. */
  startCall(): void {
    this.callNumber += 1;
    this.awaited = 0;
    this.unsent = this.kept.values();
  }

  /** Returns the next message not yet sent on the current call, and marks it as sent. */
  send(): LedgerEntry<Id, Message> | undefined {
    const next = this.awaited < this.size ? this.unsent.next().value : undefined;
    if (next === undefined) return undefined;
    next.callNumber = this.callNumber;
    this.awaited += 1;
    return next.entry;
  }

  /**
   * Removes the messages that an acknowledgment of `id` covers and returns their number. Includes messages not yet sent on the current
   * call, because the server may have received them on an earlier call. Returns 0 for an unknown id (a repeated acknowledgment) and for a
   * message that was never sent (the acknowledgment is then for another message with the same id).
   */
  acknowledge(id: Id, kind: Acknowledgment): number {
    const { size } = this;
    const found = this.kept.get(id);
    if (found === undefined || found.callNumber === 0) return 0;
    if (kind === 'single') this.remove(found);
    else this.uncovered ??= this.kept.values();
    while (this.kept.has(id)) this.remove(this.uncovered?.next().value ?? found);
    return size - this.size;
  }

  private remove({ entry, callNumber }: Kept<Id, Message>): void {
    if (callNumber === this.callNumber) this.awaited -= 1;
    this.kept.delete(entry.id);
    this.bytes -= entry.bytes;
  }
}
