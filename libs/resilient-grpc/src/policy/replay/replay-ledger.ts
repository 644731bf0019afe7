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

interface Node<Id, Message> {
  readonly entry: LedgerEntry<Id, Message>;
  /** Number of the call on which the message was last sent; 0 if it was never sent. */
  callNumber: number;
  previous: Node<Id, Message> | undefined;
  next: Node<Id, Message> | undefined;
}

/** Unacknowledged messages in send order, with the send position of the current call. Uses a linked list in addition to the map. */
export class ReplayLedger<Id, Message> {
  private readonly nodes = new Map<Id, Node<Id, Message>>();
  private first: Node<Id, Message> | undefined;
  private last: Node<Id, Message> | undefined;
  private unsent: Node<Id, Message> | undefined;
  private callNumber = 1;
  bytes = 0;
  /** Number of unacknowledged messages sent on the current call. */
  awaited = 0;

  constructor(private readonly limits: LedgerLimits) {}

  get size(): number {
    return this.nodes.size;
  }

  get oldest(): LedgerEntry<Id, Message> | undefined {
    return this.first?.entry;
  }

  get isFull(): boolean {
    return this.size >= this.limits.messages || this.bytes >= this.limits.bytes;
  }

  has(id: Id): boolean {
    return this.nodes.has(id);
  }

  /** True if a message of `bytes` fits. A message that is larger than the byte limit fits only if the ledger is empty. */
  fits(bytes: number): boolean {
    return this.size === 0 || (this.size < this.limits.messages && this.bytes + bytes <= this.limits.bytes);
  }

  /** Appends a message, which must fit and have a new id. */
  add(entry: LedgerEntry<Id, Message>): void {
    const node: Node<Id, Message> = { entry, callNumber: 0, previous: this.last, next: undefined };
    if (this.last === undefined) this.first = node;
    else this.last.next = node;
    this.last = node;
    this.unsent ??= node;
    this.nodes.set(entry.id, node);
    this.bytes += entry.bytes;
  }

  /** Starts a new call, on which all messages are sent again from the first. */
  startCall(): void {
    this.callNumber += 1;
    this.awaited = 0;
    this.unsent = this.first;
  }

  /** Returns the next message not yet sent on the current call, and marks it as sent. */
  send(): LedgerEntry<Id, Message> | undefined {
    const node = this.unsent;
    if (node === undefined) return undefined;
    node.callNumber = this.callNumber;
    this.unsent = node.next;
    this.awaited += 1;
    return node.entry;
  }

  /**
   * Removes the messages that an acknowledgment of `id` covers and returns their number. Includes messages not yet sent on the current
   * call, because the server may have received them on an earlier call. Returns 0 for an unknown id (a repeated acknowledgment) and for a
   * message that was never sent (the acknowledgment is then for another message with the same id).
   */
  acknowledge(id: Id, kind: Acknowledgment): number {
    const node = this.nodes.get(id);
    if (node === undefined || node.callNumber === 0) return 0;
    if (kind === 'single') {
      this.remove(node);
      return 1;
    }
    let count = 0;
    for (let covered = this.first; covered !== undefined; covered = covered.next) {
      this.remove(covered);
      count += 1;
      if (covered === node) break;
    }
    return count;
  }

  private remove(node: Node<Id, Message>): void {
    const { previous, next } = node;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
    if (this.unsent === node) this.unsent = next;
    if (node.callNumber === this.callNumber) this.awaited -= 1;
    this.nodes.delete(node.entry.id);
    this.bytes -= node.entry.bytes;
  }
}
