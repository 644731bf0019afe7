import { afterEach, describe, expect, it, vi } from 'vitest';
import { VirtualClock, turn } from '../../spec-support/virtual-clock.js';
import type { DashboardFeed } from './dashboard-feed.js';
import { DashboardProcesses } from './dashboard-processes.js';
import type { EventStream } from './event-stream.js';

/** Creates a blocked stream. `close` closes the stream, and `pushed` lists the events pushed to it. */
function makeBlockedStream() {
  const listeners: (() => void)[] = [];
  const pushed: string[] = [];
  const stream = {
    isOver: false,
    isBlocked: true,
    writable: () => new Promise<void>((resolve) => listeners.push(resolve)),
    onClose: (listener: () => void) => void listeners.push(listener),
    push: (event: string) => void pushed.push(event),
  };
  const close = (): void => {
    stream.isOver = true;
    for (const listener of listeners) listener();
  };
  // Safe: DashboardProcesses uses no other member in this test.
  return { stream: stream as unknown as EventStream, close, pushed };
}

describe('DashboardProcesses', () => {
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it('does not connect to other processes if the visitor disconnects while its stream is blocked', async () => {
    const fetched = vi.fn(() => new Promise(() => undefined));
    vi.stubGlobal('fetch', fetched);
    const clock = new VirtualClock();
    const feed = { addVisitor: vi.fn(), removeVisitor: vi.fn() };
    const urls = ['http://127.0.0.1:1/grpc'];
    const processes = new DashboardProcesses(urls, feed as unknown as DashboardFeed, clock);
    const { stream, close, pushed } = makeBlockedStream();
    processes.visitAll({ stream, headers: {}, openClient: undefined });
    await turn();
    close();
    await turn();
    expect(feed.removeVisitor).toHaveBeenCalledOnce();
    expect([pushed, fetched.mock.calls, clock.pending]).toEqual([[], [], 0]);
  });
});
