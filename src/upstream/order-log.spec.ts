import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { epochMs } from '../epoch.js';
import type { LogLine } from './log-follower.js';
import { OrderLog } from './order-log.js';

describe('OrderLog', () => {
  let folder: string;
  let path: string;
  const opened: OrderLog[] = [];
  const open = (): OrderLog => {
    const log = new OrderLog(path);
    opened.push(log);
    return log;
  };
  const request = { requestId: 'a', item: 'tea', quantity: 2 };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'order-log-'));
    path = join(folder, 'orders.log');
  });
  afterEach(() => {
    for (const log of opened.splice(0)) log.close();
    rmSync(folder, { recursive: true });
  });

  it('assigns a sequence number to an appended order and finds the order by its id', () => {
    const log = open();
    expect(log.append(request)).toEqual({ ...request, id: 'order-1', sequence: '1' });
    expect(log.get('order-1')?.requestId).toBe('a');
    expect(log.get('order-2')).toBeUndefined();
    expect(log.get('anything')).toBeUndefined();
  });

  it('writes an order and its time to the log file before append() returns', () => {
    open().append(request);
    const { atMs, ...line } = JSON.parse(readFileSync(path, 'utf8')) as LogLine;
    expect(line).toMatchObject(request);
    expect(Math.abs(epochMs() - atMs)).toBeLessThan(5_000);
  });

  it('continues the order log after a restart and applies a repeated request again', () => {
    open().append(request);
    const after = open();
    expect(after.append(request).sequence).toBe('2');
    expect(after.get('order-1')).toEqual({ ...request, id: 'order-1', sequence: '1' });
  });

  it('assigns consecutive sequence numbers across all OrderLogs that have the same file open', () => {
    const [one, other] = [open(), open()];
    expect(one.append({ ...request, requestId: 'one' }).sequence).toBe('1');
    expect(other.append({ ...request, requestId: 'other' }).sequence).toBe('2');
    expect(one.append(request).sequence).toBe('3');
    expect(one.get('order-2')?.requestId).toBe('other');
    expect(other.get('order-1')?.requestId).toBe('one');
  });

  it.each(['{"requestId":"torn","item":"', '{"requestId":"torn","item":"}'])(
    'skips an incomplete log line of a killed process: %s',
    (torn) => {
      open().append(request);
      appendFileSync(path, torn);
      const after = open();
      expect(after.length).toBe(1);
      expect(after.append({ ...request, item: 'thé' }).sequence).toBe('2');
      expect(open().get('order-2')?.item).toBe('thé');
    },
  );

  it('follows the order log after a cursor, at the pace of the reader, until the signal is aborted', async () => {
    const [log, other] = [open(), open()];
    for (let count = 0; count < 3; count++) log.append(request);
    const ending = new AbortController();
    const following = log.follow(1n, ending.signal);
    const next = async () => (await following.next()).value?.sequence;
    expect([await next(), await next()]).toEqual(['2', '3']);
    const fourth = next();
    log.append(request);
    expect(await fourth).toBe('4');
    const fifth = next();
    other.append(request);
    expect(await fifth).toBe('5');
    const end = following.next();
    ending.abort();
    expect(await end).toEqual({ value: undefined, done: true });
  });
});
