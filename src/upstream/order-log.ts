import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { firstValueFrom, fromEvent, merge, Subject } from 'rxjs';
import { epochMs } from '../epoch.js';
import type { CreateOrderRequest, Order } from '../gen/orders.pb.js';
import { LogFollower, type LogLine } from './log-follower.js';

/** Polling interval for lines that other processes have appended. */
const POLL_MS = 10;

/**
 * A durable, append-only log of orders in a file. Processes can share it, like replicas that share a database. Each order is a JSON line,
 * and its position among the valid lines is its sequence. The operating system appends whole lines atomically; a writer finds the sequence
 * of its line by reading up to this line. A line is written before the call is answered, so it survives a SIGKILL of the process.
 * Duplicated and lost writes can therefore be counted.
 */
export class OrderLog {
  private readonly file: number;
  private readonly follower: LogFollower;
  private readonly orders: Order[] = [];
  private readonly appended = new Subject<void>();
  private readonly polling: NodeJS.Timeout;
  private written = 0;

  /** Opens or creates the log. Terminates an incomplete line of a killed process; readers skip it. */
  constructor(path: string) {
    this.file = openSync(path, 'a+');
    if (!endsWithLine(this.file)) writeSync(this.file, '\n');
    this.follower = new LogFollower(path);
    this.readAppended();
    this.polling = setInterval(() => this.readAppended(), POLL_MS).unref();
  }

  /** Number of orders read so far, which is also the sequence of the last one. */
  get length(): number {
    return this.orders.length;
  }

  /** Appends an order, even if its request id was used before. */
  append({ requestId, item, quantity }: CreateOrderRequest): Order {
    const key = `${process.pid}-${++this.written}`;
    const line: LogLine = { requestId, item, quantity, atMs: epochMs(), key };
    writeSync(this.file, `${JSON.stringify(line)}\n`);
    const order = this.readAppended(key);
    if (order === undefined) throw new Error('cannot append to the order log; check whether the disk is full');
    return order;
  }

  /** Returns the order with this id; `undefined` if absent. */
  get(id: string): Order | undefined {
    const sequence = /^order-(\d+)$/.exec(id)?.[1];
    return sequence === undefined ? undefined : this.orders[Number(sequence) - 1];
  }

  /** Returns the orders after the cursor `from`, then appended ones, at the pace of the reader, until `signal` is aborted. */
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

  /** Reads the lines appended by any process. Returns the order in the line with this key. */
  private readAppended(key?: string): Order | undefined {
    let found: Order | undefined;
    const before = this.orders.length;
    for (const { requestId, item, quantity, key: lineKey } of this.follower.read()) {
      const sequence = String(this.orders.length + 1);
      const order: Order = { id: `order-${sequence}`, requestId, item, quantity, sequence };
      this.orders.push(order);
      if (lineKey === key) found = order;
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
