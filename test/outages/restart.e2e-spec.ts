import type { GrpcClientEvent } from 'nestjs-resilient-grpc';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { CallLoad } from '../support/call-load.js';
import { aboveDebug, startOrdersApp, type OrdersOf } from '../support/orders-app.js';
import { OrdersProcess } from '../support/orders-process.js';
import { recordTiming } from '../support/timing.js';

const lineOfGet = (number: number) => `get ${number}`;
/**
 * Outage grace period and grpc-js backoff in milliseconds. Longer than any outage in these tests, so that neither ends during an outage.
 */
const FAR_MS = 60_000;
const PATIENT = {
  outageGraceMs: FAR_MS,
  channelOptions: { 'grpc.initial_reconnect_backoff_ms': FAR_MS, 'grpc.max_reconnect_backoff_ms': FAR_MS },
};

const lineOfCreate = (number: number) => `create ${number}`;

/** Tracks when the channel last entered READY, in milliseconds since 1970; 0 before the first time. */
function changesOf({ client }: OrdersOf): { readonly readyAt: number } {
  const seen = { readyAt: 0 };
  client.events$.subscribe((event: GrpcClientEvent) => {
    if (event.type === 'connectivity' && event.to === 'READY') seen.readyAt = event.at;
  });
  return seen;
}

/** The lines of `arrived` that occur more than once and are keys of calls in `load`. */
function arrivedTwice(arrived: readonly string[], key: (number: number) => string, load: CallLoad): readonly string[] {
  const keys = new Set(load.calls.map(({ number }) => key(number)));
  const counts = new Map<string, number>();
  for (const line of arrived) if (keys.has(line)) counts.set(line, (counts.get(line) ?? 0) + 1);
  return [...counts].filter(([, count]) => count > 1).map(([line]) => line);
}

const messages = (load: CallLoad) => load.failed.map(({ error }) => (error as Error).message);

describe('restart of the only server', () => {
  // Registers the leak check before other cleanups, so that it runs last: cleanups run in reverse order.
  beforeEach(({ onTestFinished }) => {
    const leaks = captureLeaks();
    onTestFinished(() => leaks.settled({ timeoutMs: 20_000 }));
  });

  it(
    'fails no call and logs no line above debug if the server stops with tryShutdown and restarts within 1 s',
    { tags: ['timed'], timeout: 120_000 },
    async ({ task }) => {
      const server = await closedAfterTest(OrdersProcess.start({ delayMs: 20 }));
      const app = await closedAfterTest(startOrdersApp({ url: server.url, ...PATIENT }));
      const changes = changesOf(app);
      const outagesMs: number[] = [];
      app.client.events$.subscribe((event) => {
        if (event.type === 'outage-end') outagesMs.push(event.durationMs);
      });
      // Maximum number of open calls of each load; larger than the number that is open after 1 s without a server.
      const maxOpen = 100;
      const gets = CallLoad.start(60, (number) => app.orders.get({ id: String(number) }), maxOpen);
      const creates = CallLoad.start(
        60,
        (number) => app.orders.create({ requestId: String(number), item: 'tea', quantity: 1 }),
        maxOpen,
      );
      for (let restarts = 1; restarts <= 2; restarts++) {
        await waitFor(() => app.client.connectivity.state === 'READY' && Date.now() - changes.readyAt > 1_100, {
          timeoutMs: 20_000,
        });
        await server.restartAfter(950, 'terminate');
      }
      const enough = creates.succeeded.length + 100;
      await waitFor(() => creates.succeeded.length > enough, { timeoutMs: 20_000 });
      await Promise.all([gets.stop(20_000), creates.stop(20_000)]);
      expect(messages(gets)).toEqual([]);
      expect(messages(creates)).toEqual([]);
      expect(arrivedTwice(server.arrived(), lineOfCreate, creates)).toEqual([]);
      expect(arrivedTwice(server.arrived(), lineOfGet, gets)).toEqual([]);
      // The first line of an outage is logged after 1.5 s, and another at its end.
      const linesAllowed = 2 * outagesMs.filter((ms) => ms >= 1_500).length;
      expect(aboveDebug(app).length).toBeLessThanOrEqual(linesAllowed);
      expect(app.lines).not.toEqual([]);
      recordTiming(task, 'longest outage with a server down for 950 ms, ms', Math.max(...outagesMs), { atMost: 1_500 });
    },
  );
});
