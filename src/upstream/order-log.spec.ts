import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { epochMs } from '../epoch.js';
import { type LoggedOrder, OrderLog } from './order-log.js';

describe('OrderLog', () => {
  let folder: string;
  let path: string;
  const request = { requestId: 'a', item: 'tea', quantity: 2 };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'order-log-'));
    path = join(folder, 'orders.log');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('gives an appended order its place and finds it by its id', () => {
    const log = new OrderLog(path);
    expect(log.append(request)).toEqual({ ...request, id: 'order-1', sequence: '1' });
    expect(log.get('order-1')?.requestId).toBe('a');
    expect(log.get('order-2')).toBeUndefined();
    expect(log.get('anything')).toBeUndefined();
    log.close();
  });

  it('has on disk what it has acknowledged, and when that was, before anything is closed', () => {
    const log = new OrderLog(path);
    log.append(request);
    const { atMs, ...order } = JSON.parse(readFileSync(path, 'utf8')) as LoggedOrder;
    expect(order).toMatchObject({ requestId: 'a', sequence: '1' });
    expect(Math.abs(epochMs() - atMs)).toBeLessThan(5_000);
    log.close();
  });

  it('goes on where it was after a restart, and applies a request it has seen again', () => {
    const before = new OrderLog(path);
    before.append(request);
    before.close();
    const after = new OrderLog(path);
    expect(after.append(request).sequence).toBe('2');
    expect(after.after(0n)).toEqual({ ...request, id: 'order-1', sequence: '1' });
    expect(after.after(1n)?.id).toBe('order-2');
    expect(after.after(2n)).toBeUndefined();
    after.close();
  });

  it('cuts off a line that was torn by a kill', () => {
    const before = new OrderLog(path);
    before.append(request);
    before.close();
    appendFileSync(path, '{"id":"order-2","requ');
    const after = new OrderLog(path);
    expect(after.length).toBe(1);
    after.append(request);
    after.close();
    expect(new OrderLog(path).length).toBe(2);
  });

  it('tells followers of each order, and ends with them', () => {
    const log = new OrderLog(path);
    const seen: string[] = [];
    log.appended$.subscribe({ next: (order) => seen.push(order.id), complete: () => seen.push('end') });
    log.append(request);
    log.close();
    expect(seen).toEqual(['order-1', 'end']);
  });
});
