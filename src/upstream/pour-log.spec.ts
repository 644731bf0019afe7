import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OrderEvent } from '../gen/orders.pb.js';
import { OrderLog } from './order-log.js';
import { type EventSink, pourLog } from './pour-log.js';

/** Takes `room` events, and then says that it has enough. */
class Sink extends EventEmitter implements EventSink {
  readonly sequences: string[] = [];
  ended = false;

  constructor(private room: number) {
    super();
  }

  write({ sequence }: OrderEvent): boolean {
    this.sequences.push(sequence);
    this.room -= 1;
    return this.room > 0;
  }

  drain(room: number): void {
    this.room = room;
    this.emit('drain');
  }

  end(): void {
    this.ended = true;
  }
}

describe('pourLog', () => {
  let folder: string;
  let log: OrderLog;
  const append = (count: number) => {
    for (let left = count; left > 0; left--) log.append({ requestId: 'a', item: 'tea', quantity: 1 });
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'pour-log-'));
    log = new OrderLog(join(folder, 'orders.log'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('gives what is after the cursor, then what is appended, until the log lets go', () => {
    append(3);
    const sink = new Sink(Infinity);
    pourLog(log, 1n, sink);
    expect(sink.sequences).toEqual(['2', '3']);
    append(1);
    expect(sink.sequences).toEqual(['2', '3', '4']);
    log.close();
    expect(sink.ended).toBe(true);
  });

  it('stops when the sink has enough, in the past and in what is new, and goes on without a gap', () => {
    append(4);
    const sink = new Sink(2);
    pourLog(log, 0n, sink);
    expect(sink.sequences).toEqual(['1', '2']);
    append(1);
    expect(sink.sequences).toEqual(['1', '2']);
    sink.drain(3);
    expect(sink.sequences).toEqual(['1', '2', '3', '4', '5']);
    append(1);
    sink.drain(2);
    append(2);
    expect(sink.sequences).toEqual(['1', '2', '3', '4', '5', '6', '7']);
    sink.drain(9);
    expect(sink.sequences.at(-1)).toBe('8');
    log.close();
  });

  it('gives nothing to a sink that was let go, not even when it drains', () => {
    append(2);
    const sink = new Sink(1);
    const letGo = pourLog(log, 0n, sink);
    letGo();
    sink.drain(9);
    append(1);
    log.close();
    expect(sink).toMatchObject({ sequences: ['1'], ended: false });
  });
});
