import { resumable } from 'nestjs-resilient-grpc/operators';
import { ScriptedGrpcServer, captureLeaks, waitFor, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { WatchRequest } from '../../src/gen/orders.pb.js';
import { ORDERS_PROTO, startOrdersApp } from '../support/orders-app.js';
import { recordTiming } from '../support/timing.js';

const FEEDS = 300;

let server: ScriptedGrpcServer;

beforeEach(async ({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Watch: sendOnce } });
  onTestFinished(() => server.close());
});

/** Sends one message to a new feed and nothing to a resumed one. Like grpc-js, it sends no headers before the first message. */
function sendOnce(call: ScriptedCall) {
  const { from } = call.request as WatchRequest;
  return { messages: Number(from) > 0 ? [] : [{ sequence: '1' }], never: true };
}

describe('quiet feeds', () => {
  it(
    'reopens quiet feeds soon after their server restarts, but not all at once',
    { timeout: 60_000, tags: ['timed'] },
    async ({ task }) => {
      const { orders, client, close } = await startOrdersApp({ url: server.url });
      onTestFinished(close);
      const failures: unknown[] = [];
      let started = 0;
      for (let i = 0; i < FEEDS; i++) {
        const feed = resumable((from: number) => orders.watch({ from: String(from) }), {
          cursor: ({ sequence }) => Number(sequence),
          seed: 0,
          minHealthyMs: 0,
          backoff: { initialBackoffMs: 20, maxBackoffMs: 200 },
        });
        const open = feed.subscribe({ next: () => (started += 1), error: (error: unknown) => failures.push(error) });
        onTestFinished(() => {
          open.unsubscribe();
        });
      }
      await waitFor(() => started === FEEDS, { timeoutMs: 20_000 });
      const before = server.calls('Watch').length;
      await server.restart('kill-connections');
      await waitFor(() => server.counts('Watch').open === FEEDS, { timeoutMs: 30_000 });
      expect(failures).toEqual([]);
      expect(client.snapshot().counters).toMatchObject({ started: FEEDS, resumed: FEEDS });
      const [first = 0, ...others] = server
        .calls('Watch')
        .slice(before)
        .map(({ at }) => at);
      const after = others.map((at) => at - first);
      // Few feeds reopen at first: calls are released at a quarter of the usual call rate, and 25% faster every 100 ms.
      expect(after.filter((ms) => ms < 300).length).toBeLessThan(100);
      // At the initial pace, the release would take at least 4 s. The spec of CallRelease uses a fake clock to test that the pace grows.
      recordTiming(task, 'time until all feeds are open again, ms', after.at(-1)!, { atMost: 2_500 });
    },
  );
});
