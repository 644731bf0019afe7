import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SessionOrders } from './session-orders.js';

describe('SessionOrders', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const readIds = async (orders: SessionOrders, read: string[] = []) => {
    for await (const { messageId } of orders.pulled()) read.push(messageId);
    return read;
  };

  it('creates session orders at the given rate with or without a subscriber, and pushes them to the current subscriber', () => {
    const orders = new SessionOrders('plain');
    orders.start(100);
    vi.advanceTimersByTime(100);
    expect(orders.count).toBe(10);
    const pushed: string[] = [];
    orders.pushed$.subscribe({ next: ({ messageId }) => pushed.push(messageId), complete: () => pushed.push('end') });
    vi.advanceTimersByTime(20);
    orders.stop();
    vi.advanceTimersByTime(100);
    expect(pushed).toEqual(['11', '12', 'end']);
  });

  it('returns all session orders in sequence, at the pace of the reader, if they are pulled', async () => {
    const orders = new SessionOrders('plain');
    orders.start(100);
    vi.advanceTimersByTime(20);
    const read: string[] = [];
    const reading = readIds(orders, read);
    await vi.advanceTimersByTimeAsync(10);
    expect(read).toEqual(['1', '2', '3']);
    vi.advanceTimersByTime(20);
    orders.stop();
    expect(await reading).toEqual(['1', '2', '3', '4', '5']);
    expect(await readIds(orders)).toHaveLength(5);
  });

  it('identifies the orders of a session by their request ids', async () => {
    const [orders, others] = [new SessionOrders('plain'), new SessionOrders('plain')];
    orders.start(100);
    vi.advanceTimersByTime(20);
    orders.stop();
    const requestIds: string[] = [];
    for await (const { order } of orders.pulled()) requestIds.push(order!.requestId);
    expect(requestIds.map((id) => orders.numberOf(id))).toEqual([1, 2]);
    expect(others.numberOf(requestIds[0]!)).toBeUndefined();
  });
});
