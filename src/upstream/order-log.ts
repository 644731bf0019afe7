import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { firstValueFrom, fromEvent, merge, Subject } from 'rxjs';
import { epochMs } from '../epoch.js';
import type { CreateOrderRequest, Order } from '../gen/orders.pb.js';
import { LogFollower, type LogLine } from './log-follower.js';

/** What others have appended is seen by followers after so long. */
const POLL_MS = 10;

/**
 * Durable, append-only log of orders in a file, which processes may share as replicas share a database: one JSON line each, and the
 * place of the line is the order's sequence, for whoever reads it. The system appends whole lines one after the other, whoever
 * writes; who has written one reads on until it meets it, and so knows its place. A line is handed to the system before the caller
 * is answered, so it outlives a SIGKILL of the process, and what was applied twice or acknowledged and lost can be counted.
 */
export class OrderLog {
  private readonly file: number;
  private readonly follower: LogFollower;
  private readonly orders: Order[] = [];
  private readonly appended = new Subject<void>();
  private readonly polling: NodeJS.Timeout;
  private written = 0;

  /** Opens the log, or makes it. A line that was torn by a kill is ended, and skipped by all who read. */
  constructor(path: string) {
    this.file = openSync(path, 'a+');
    if (!endsWithLine(this.file)) writeSync(this.file, '\n');
    this.follower = LogFollower.fromStart(path);
    this.readOn();
    this.polling = setInterval(() => this.readOn(), POLL_MS).unref();
  }

  /** How many orders there are, as far as they were read; also the sequence of the last one. */
  get length(): number {
    return this.orders.length;
  }

  /** Appends an order, whether or not its request was seen before. */
  append({ requestId, item, quantity }: CreateOrderRequest): Order {
    const key = `${process.pid}-${++this.written}`;
    const line: LogLine = { requestId, item, quantity, atMs: epochMs(), key };
    writeSync(this.file, `${JSON.stringify(line)}\n`);
    const order = this.readOn(key);
    if (order === undefined) throw new Error('the log has not taken an order: is its disk full?');
    return order;
  }

  /** The order of this id, if there is one. */
  get(id: string): Order | undefined {
    const sequence = /^order-(\d+)$/.exec(id)?.[1];
    return sequence === undefined ? undefined : this.orders[Number(sequence) - 1];
  }

  /** The orders after the cursor `from`, then each that is appended, until `signal` aborts: as fast as they are taken, and no faster. */
  async *follow(from: bigint, signal: AbortSignal): AsyncGenerator<Order, void, undefined> {
    for (let place = Number(from); !signal.aborted;) {
      const order = this.orders[place];
      if (order === undefined) {
        await firstValueFrom(merge(this.appended, fromEvent(signal, 'abort')), { defaultValue: undefined });
      } else {
        place += 1;
        yield order;
      }
    }
  }

  close(): void {
    clearInterval(this.polling);
    this.follower.close();
    closeSync(this.file);
  }

  /** Takes in what was appended by anybody. Gives the order of the line with this key. */
  private readOn(key?: string): Order | undefined {
    let found: Order | undefined;
    const before = this.orders.length;
    for (const { requestId, item, quantity, key: its } of this.follower.read()) {
      const sequence = String(this.orders.length + 1);
      const order: Order = { id: `order-${sequence}`, requestId, item, quantity, sequence };
      this.orders.push(order);
      if (its === key) found = order;
    }
    if (this.orders.length > before) this.appended.next();
    return found;
  }
}

function endsWithLine(file: number): boolean {
  const { size } = fstatSync(file);
  const last = Buffer.alloc(1);
  return size === 0 || (readSync(file, last, 0, 1, size - 1) === 1 && last.toString() === '\n');
}
