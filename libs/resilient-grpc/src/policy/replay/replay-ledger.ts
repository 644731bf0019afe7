/** What an acknowledgement says of the messages sent before the one it names: nothing, or that they are acknowledged as well. */
export type Acknowledgement = 'single' | 'cumulative';

/** A message that is to be sent until it is acknowledged. */
export interface LedgerEntry<Id, Message> {
  readonly id: Id;
  readonly message: Message;
  /** 0 where bytes are not counted. */
  readonly bytes: number;
}

/** How much may be unacknowledged. */
export interface LedgerLimits {
  /** Messages; 1 or more. */
  readonly messages: number;
  /** Infinity: bytes are not counted. */
  readonly bytes: number;
}

interface Node<Id, Message> {
  readonly entry: LedgerEntry<Id, Message>;
  /** The connection it was sent on last; 0 for none. */
  connection: number;
  previous: Node<Id, Message> | undefined;
  next: Node<Id, Message> | undefined;
}

/**
 * Messages that are not acknowledged, in the order in which they are sent, and how far the connection of now got with them.
 * A list of its own beside the map: a Map keeps order too, but looks for its first key behind every key that was deleted.
 */
export class ReplayLedger<Id, Message> {
  readonly #nodes = new Map<Id, Node<Id, Message>>();
  #first: Node<Id, Message> | undefined;
  #last: Node<Id, Message> | undefined;
  #unsent: Node<Id, Message> | undefined;
  #connection = 1;
  #bytes = 0;
  #awaited = 0;

  constructor(private readonly limits: LedgerLimits) {}

  /** Messages in it. */
  get size(): number {
    return this.#nodes.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Messages that were sent on this connection and are not acknowledged. */
  get awaited(): number {
    return this.#awaited;
  }

  /** The oldest in it. */
  get oldest(): LedgerEntry<Id, Message> | undefined {
    return this.#first?.entry;
  }

  /** Nothing more has room. */
  get isFull(): boolean {
    return this.size >= this.limits.messages || this.#bytes >= this.limits.bytes;
  }

  has(id: Id): boolean {
    return this.#nodes.has(id);
  }

  /** Whether a message of `bytes` has room. One that is larger than all that may be there has it when it is alone. */
  fits(bytes: number): boolean {
    return this.size === 0 || (this.size < this.limits.messages && this.#bytes + bytes <= this.limits.bytes);
  }

  /** Puts a message that fits, and whose id is not in it, at the end. */
  add(entry: LedgerEntry<Id, Message>): void {
    const node: Node<Id, Message> = { entry, connection: 0, previous: this.#last, next: undefined };
    if (this.#last === undefined) this.#first = node;
    else this.#last.next = node;
    this.#last = node;
    this.#unsent ??= node;
    this.#nodes.set(entry.id, node);
    this.#bytes += entry.bytes;
  }

  /** Another connection: everything is to be sent again, from the first. */
  reconnect(): void {
    this.#connection += 1;
    this.#awaited = 0;
    this.#unsent = this.#first;
  }

  /** The next message that this connection was not sent, which counts as sent from now on. */
  send(): LedgerEntry<Id, Message> | undefined {
    const node = this.#unsent;
    if (node === undefined) return undefined;
    node.connection = this.#connection;
    this.#unsent = node.next;
    this.#awaited += 1;
    return node.entry;
  }

  /**
   * Takes out what an acknowledgement of `id` covers, also what this connection was not sent yet: the server may know it from an
   * earlier one. Gives how many that are: 0 for an id that is not in it (a repeated acknowledgement), or was never sent, which
   * is another message's.
   */
  acknowledge(id: Id, kind: Acknowledgement): number {
    const node = this.#nodes.get(id);
    if (node === undefined || node.connection === 0) return 0;
    if (kind === 'single') {
      this.#remove(node);
      return 1;
    }
    let count = 0;
    for (let one = this.#first; one !== undefined; one = one.next) {
      this.#remove(one);
      count += 1;
      if (one === node) break;
    }
    return count;
  }

  #remove(node: Node<Id, Message>): void {
    const { previous, next } = node;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    if (this.#unsent === node) this.#unsent = next;
    if (node.connection === this.#connection) this.#awaited -= 1;
    this.#nodes.delete(node.entry.id);
    this.#bytes -= node.entry.bytes;
  }
}
