import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { type Observable, Subject } from 'rxjs';
import { epochMs } from '../epoch.js';
import type { CreateOrderRequest, Order } from '../gen/orders.pb.js';

/** A line of the log. */
export interface LoggedOrder extends Order {
  /** When it was appended, by {@link epochMs}. */
  readonly atMs: number;
}

/**
 * Durable, append-only log of orders: one JSON line each. The line is handed to the operating system before the caller is
 * answered, so it outlives a SIGKILL of the process, and what was applied twice or acknowledged and lost can be counted.
 */
export class OrderLog {
  readonly #file: number;
  readonly #orders: Order[] = [];
  readonly #appended = new Subject<Order>();

  /** Opens the log, or makes it. A line that was torn by a kill is cut off. */
  constructor(path: string) {
    this.#file = openSync(path, 'a+');
    const text = readFileSync(path, 'utf8');
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    if (whole.length < text.length) ftruncateSync(this.#file, Buffer.byteLength(whole));
    for (const line of whole.split('\n')) if (line) this.#orders.push(parseOrder(line));
  }

  /** How many orders there are; also the sequence of the last one. */
  get length(): number {
    return this.#orders.length;
  }

  /** Each order as it is appended. */
  get appended$(): Observable<Order> {
    return this.#appended;
  }

  /** Appends an order, whether or not its request was seen before. */
  append(request: CreateOrderRequest): Order {
    const sequence = this.#orders.length + 1;
    const order: Order = { ...request, id: `order-${sequence}`, sequence: String(sequence) };
    writeSync(this.#file, `${JSON.stringify({ ...order, atMs: epochMs() } satisfies LoggedOrder)}\n`);
    this.#orders.push(order);
    this.#appended.next(order);
    return order;
  }

  /** The order of this id, if there is one. */
  get(id: string): Order | undefined {
    const sequence = /^order-(\d+)$/.exec(id)?.[1];
    return sequence === undefined ? undefined : this.#orders[Number(sequence) - 1];
  }

  /** The first order after the cursor `from`, if there is one. */
  after(from: bigint): Order | undefined {
    return this.#orders[Number(from)];
  }

  /** Ends those who follow the log, so that a server with open streams can stop; writes in progress still get their place. */
  releaseFollowers(): void {
    this.#appended.complete();
  }

  close(): void {
    this.releaseFollowers();
    closeSync(this.#file);
  }
}

function parseOrder(line: string): Order {
  // True: append() wrote the line, and lines torn by a kill were cut off before.
  const { id, requestId, item, quantity, sequence } = JSON.parse(line) as LoggedOrder;
  return { id, requestId, item, quantity, sequence };
}
