import type { GrpcClientEvent } from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { recordTiming } from '../support/timing.js';
import { ORDERS_PROTO, aboveDebug, startOrdersApp, type OrdersApp } from '../support/orders-app.js';

type UnreadReport = Extract<GrpcClientEvent, { type: 'unread-stream' }>;

const AFTER_MS = 300;

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

  async function start(settings: object): Promise<{ readonly app: OrdersApp; readonly reports: UnreadReport[] }> {
    const app = await startOrdersApp(
      { url: server.url, unreadStreamWarningMs: AFTER_MS, ...settings },
      { drain: { timeoutMs: 50 } },
    );
    onTestFinished(() => app.close());
    const reports: UnreadReport[] = [];
    app.client.events$.subscribe((event) => {
      if (event.type === 'unread-stream') reports.push(event);
    });
    return { app, reports };
  }

  it('logs an unread stream once with the call site that opened it', { tags: ['timed'] }, async ({ task }) => {
    const { app, reports } = await start({ traceStreams: true });
    const reader = app.orders.watch({ from: '0' })[Symbol.asyncIterator]();
    const line = lineAbove();
    await reader.next();
    const unreadAt = performance.now();
    await waitFor(() => reports.length > 0);
    recordTiming(task, 'time from the threshold until the report, ms', performance.now() - unreadAt - AFTER_MS, {
      atMost: 500,
    });
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
    const reportedAt = performance.now();
    await waitFor(() => performance.now() - reportedAt > 2 * AFTER_MS);
    expect(reports).toHaveLength(1);
  });

  it('reports an unread resumable stream once, even if one of its calls is lost', async () => {
    const { app, reports } = await start({});
    const stream = resumable((from: string) => app.orders.watch({ from }), {
      cursor: ({ sequence }) => sequence,
      seed: '0',
      compare: (a, b) => Number(a) - Number(b),
    });
    await stream[Symbol.asyncIterator]().next();
    await server.restart('kill-connections');
    await waitFor(() => server.counts('Watch').calls === 2 && reports.length > 0);
    const reportedAt = performance.now();
    await waitFor(() => performance.now() - reportedAt > 2 * AFTER_MS);
    expect(reports).toMatchObject([{ path: '/orders.v1.Orders/Watch' }]);
  });

  it('logs a hint to set traceStreams if the call site is unknown', async () => {
    const { app } = await start({});
    await app.orders.watch({ from: '0' })[Symbol.asyncIterator]().next();
    await waitFor(() =>
      aboveDebug(app).some((text) => text.endsWith('set traceStreams: true to log where it was opened')),
    );
  });

  it('does not report a stream as unread while a read is pending or a subscription is open', async () => {
    const { app, reports } = await start({});
    const reader = app.orders.watch({ from: '0' })[Symbol.asyncIterator]();
    for (let i = 0; i < 3; i++) await reader.next();
    void reader.next();
    const pushed = app.orders.watch({ from: '0' }).subscribe();
    // Discards earlier reports, because the process may have been suspended between two reads.
    reports.length = 0;
    const beganAt = performance.now();
    await waitFor(() => performance.now() - beganAt > 2 * AFTER_MS);
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
