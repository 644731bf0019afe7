import type { GrpcClientEvent } from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { ScriptedGrpcServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { ORDERS_PROTO, aboveDebug, startOrdersApp, type OrdersApp } from '../support/orders-app.js';

type UnreadReport = Extract<GrpcClientEvent, { type: 'unread-stream' }>;

/** Time without a read after which a stream is reported, in milliseconds. */
const AFTER_MS = 60_000;

describe('unread stream', () => {
  let server: ScriptedGrpcServer;
  beforeEach(async ({ onTestFinished }) => {
    const leaks = captureLeaks();
    onTestFinished(() => leaks.settled());
    server = await ScriptedGrpcServer.start({
      protoPath: ORDERS_PROTO,
      scripts: {
        Watch: { messages: Array.from({ length: 3 }, (_, index) => ({ sequence: String(index + 1) })), never: true },
      },
    });
    onTestFinished(() => server.close());
  });

  async function start(): Promise<{ readonly app: OrdersApp; readonly reports: UnreadReport[] }> {
    // Timers are faked while the client exists; sockets and `setImmediate` are not.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
    const app = await startOrdersApp({ url: server.url }, { drain: { timeoutMs: 0 } });
    onTestFinished(async () => {
      vi.useRealTimers();
      await app.close();
    });
    const reports: UnreadReport[] = [];
    app.client.events$.subscribe((event) => {
      if (event.type === 'unread-stream') reports.push(event);
    });
    return { app, reports };
  }

  it('logs an unread stream once with the call site that opened it', async () => {
    const { app, reports } = await start();
    const reader = app.orders.watch({ from: '0' })[Symbol.asyncIterator]();
    const line = lineAbove();
    await reader.next();
    await vi.advanceTimersByTimeAsync(AFTER_MS);
    expect(reports).toMatchObject([
      { path: '/orders.v1.Orders/Watch', openedAt: `${import.meta.filename}:${String(line)}` },
    ]);
    expect(reports[0]!.unreadMs).toBeGreaterThanOrEqual(AFTER_MS * 0.8);
    expect(app.client.activeCalls()).toMatchObject([{ openedAt: reports[0]!.openedAt, received: 3 }]);
    expect(aboveDebug(app).filter((text) => text.includes(', unread for '))).toEqual([
      expect.stringMatching(
        /^warn: \/orders\.v1\.Orders\/Watch: stream open for [\d.]+ m?s, unread for [\d.]+ m?s; opened at .*unread\.e2e-spec\.ts:\d+$/,
      ),
    ]);
    await vi.advanceTimersByTimeAsync(2 * AFTER_MS);
    expect(reports).toHaveLength(1);
  });

  it('reports an unread resumable stream once, even if one of its calls is lost', async () => {
    const { app, reports } = await start();
    const stream = resumable((from: string) => app.orders.watch({ from }), {
      cursor: ({ sequence }) => sequence,
      seed: '0',
      compare: (a, b) => Number(a) - Number(b),
    });
    await stream[Symbol.asyncIterator]().next();
    await server.restart('kill-connections');
    await vi.waitFor(() => {
      expect(server.counts('Watch').calls).toBe(2);
    });
    await vi.advanceTimersByTimeAsync(3 * AFTER_MS);
    expect(reports).toMatchObject([{ path: '/orders.v1.Orders/Watch' }]);
  });

  it('logs in production where a stream was opened only if an earlier stream was unread', async () => {
    vi.stubEnv('NODE_ENV', 'production');
    onTestFinished(() => void vi.unstubAllEnvs());
    const { app, reports } = await start();
    await app.orders.watch({ from: '0' })[Symbol.asyncIterator]().next();
    await vi.advanceTimersByTimeAsync(AFTER_MS);
    await app.orders.watch({ from: '0' })[Symbol.asyncIterator]().next();
    await vi.advanceTimersByTimeAsync(AFTER_MS);
    expect(reports.map(({ openedAt }) => openedAt)).toEqual([
      undefined,
      expect.stringMatching(/unread\.e2e-spec\.ts:\d+$/),
    ]);
    expect(aboveDebug(app)[0]).toMatch(/; the client logs where later streams were opened$/);
  });

  it('does not report a stream as unread while a read is pending or a subscription is open', async () => {
    const { app, reports } = await start();
    const reader = app.orders.watch({ from: '0' })[Symbol.asyncIterator]();
    for (let i = 0; i < 3; i++) await reader.next();
    void reader.next();
    const pushed = app.orders.watch({ from: '0' }).subscribe();
    await vi.advanceTimersByTimeAsync(2 * AFTER_MS);
    expect(reports).toEqual([]);
    await reader.return?.();
    pushed.unsubscribe();
  });
});

/** Number of the line above the call to this function. */
function lineAbove(): number {
  const [, , caller = ''] = (new Error().stack ?? '').split('\n');
  return Number(/:(\d+):\d+\)?$/.exec(caller)?.[1]) - 1;
}
