import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom, toArray, type Observable } from 'rxjs';
import { beforeEach, describe, expect, it } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { turns } from '../calls/support.js';
import { holdTimers } from '../server/support/held-timers.js';
import { ORDERS_PROTO, startOrdersApp, type OrdersOf } from '../support/orders-app.js';
import { resettingPeer } from '../support/peers.js';
import { recordTiming } from '../support/timing.js';

/** Resolves to the error of `call` and the time of the error; rejects if the call succeeds. */
async function failureOf(call: Observable<unknown>): Promise<{ readonly error: GrpcCallError; readonly at: number }> {
  try {
    await lastValueFrom(call.pipe(toArray()));
  } catch (error) {
    return { error: error as GrpcCallError, at: performance.now() };
  }
  throw new Error('the call succeeded');
}

const create = ({ orders }: OrdersOf) => orders.create({ requestId: '1', item: 'tea', quantity: 1 });

describe('app.close()', () => {
  // Registers the leak check before other cleanups, so that it runs last: cleanups run in reverse order.
  beforeEach(({ onTestFinished }) => {
    const leaks = captureLeaks();
    onTestFinished(() => leaks.settled({ timeoutMs: 20_000 }));
  });

  async function startServer(): Promise<ScriptedGrpcServer> {
    return closedAfterTest(ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: {} } }));
  }

  it(
    'lets calls in flight finish during app.close(), which rejects new calls and resolves when the last call ends',
    { tags: ['timed'] },
    async ({ task }) => {
      const server = await startServer();
      server.script('Create', { hold: 'everything' });
      server.script('Watch', { messages: [{ sequence: '1' }], hold: 'status' });
      const app = await startOrdersApp({ url: server.url }, { drain: { timeoutMs: 60_000 } });
      const inFlight = Promise.all([
        firstValueFrom(create(app)),
        lastValueFrom(app.orders.watch({ from: '0' }).pipe(toArray())),
      ]);
      await waitFor(() => server.heldCount() === 2);
      let closed = false;
      const closing = app.close().then(() => {
        closed = true;
      });
      await waitFor(() => !app.client.accepting);
      const { error } = await failureOf(app.orders.get({ id: '1' }));
      expect(error).toMatchObject({ codeName: 'UNAVAILABLE', reason: 'draining', reachedServer: 'no' });
      expect(closed).toBe(false);
      expect(server.release()).toBe(2);
      const releasedAt = performance.now();
      expect((await inFlight)[1]).toHaveLength(1);
      await closing;
      recordTiming(task, 'time from the last response until the end of close(), ms', performance.now() - releasedAt, {
        atMost: 500,
      });
      expect(app.client.connectivity.state).toBe('SHUTDOWN');
      expect(server.counts('Get').calls).toBe(0);
      expect((await failureOf(app.orders.get({ id: '1' }))).error.reason).toBe('closed');
      await waitFor(() => server.connections.open === 0);
    },
  );

  it(
    'fails calls in backoff when a drain begins, and calls in flight or waiting for the channel when the drain timeout expires',
    { tags: ['timed'] },
    async ({ task }) => {
      const server = await startServer();
      const nowhere = await closedAfterTest(resettingPeer());
      server.script('Create', { never: true });
      server.script('Watch', { messages: [{ sequence: '1' }], never: true });
      server.script('Get', { status: 'UNAVAILABLE' });
      const retryPolicy = {
        maxAttempts: 3,
        initialBackoff: '60s',
        maxBackoff: '60s',
        backoffMultiplier: 1,
        retryableStatusCodes: ['UNAVAILABLE'],
      };
      const serviceConfig = { methodConfig: [{ name: [{ service: 'orders.v1.Orders', method: 'Get' }], retryPolicy }] };
      const settings = [
        { url: server.url, serviceConfig },
        { url: nowhere.url, outageGraceMs: 60_000 },
      ];
      const app = await startOrdersApp(settings, { drain: { timeoutMs: 500 } });
      const stranded = app.clients[1]!;
      const failures = [
        failureOf(create(app)),
        failureOf(app.orders.watch({ from: '0' })),
        failureOf(app.orders.get({ id: '1' })),
        failureOf(create(stranded)),
        failureOf(stranded.orders.get({ id: '1' }, { waitForReady: true, timeoutMs: 60_000 })),
      ];
      await waitFor(() => server.counts().calls === 3 && server.counts('Get').answered === 1);
      await waitFor(() => stranded.client.snapshot().waiting === 2 && stranded.client.connectivity.outage);
      const beganAt = performance.now();
      await app.close();
      const closedMs = performance.now() - beganAt;
      expect(closedMs).toBeGreaterThan(450);
      recordTiming(task, 'duration of close() (drain timeout 500 ms), ms', closedMs, { atMost: 900 });
      const reached: string[] = [];
      for (const [index, { error, at }] of (await Promise.all(failures)).entries()) {
        // The retry is due after the end of the drain, so its call fails when the drain begins.
        const isBackoff = index === 2;
        expect(error).toMatchObject({ codeName: 'UNAVAILABLE', notRetriedBecause: 'draining' });
        expect(error.reason).toBe(isBackoff ? 'server' : 'draining');
        if (!isBackoff) expect(at - beganAt).toBeGreaterThan(450);
        reached.push(error.reachedServer);
      }
      expect(reached).toEqual(['maybe', 'yes', 'maybe', 'no', 'no']);
      const failedAt = (await Promise.all(failures)).map(({ at }) => at);
      expect(Math.min(...failedAt)).toBe(failedAt[2]);
      // The calls also end on the wire.
      await waitFor(() => server.counts().open === 0 && server.connections.open === 0);
      expect(app.clients.map(({ client }) => client.activeCalls().length)).toEqual([0, 0]);
      // Waits until connection attempts that were made before the close have arrived.
      await turns();
      const attemptsAtEnd = nowhere.acceptedAt.length;
      // Waits for 450 ms without a further attempt. While calls wait, attempts are at most 375 ms apart.
      const endedAt = performance.now();
      await waitFor(() => performance.now() - endedAt > 450);
      expect(nowhere.acceptedAt.length).toBe(attemptsAtEnd);
    },
  );

  it('finishes waiting calls during app.close() if the server restarts within the drain timeout', async () => {
    const server = await startServer();
    const app = await startOrdersApp({ url: server.url, outageGraceMs: 60_000 }, { drain: { timeoutMs: 60_000 } });
    await firstValueFrom(app.orders.get({ id: '1' }));
    await server.stop('kill-connections');
    const waiting = firstValueFrom(app.orders.get({ id: '2' }));
    await waitFor(() => app.client.connectivity.outage);
    const closing = app.close();
    await waitFor(() => !app.client.accepting);
    await server.restart();
    await waiting;
    await closing;
    expect(server.counts('Get').answered).toBe(2);
  });

  it('changes the health status to down immediately on app.close(), although calls still succeed during readinessDelayMs', async () => {
    const server = await startServer();
    const app = await startOrdersApp({ url: server.url }, { drain: { timeoutMs: 60_000, readinessDelayMs: 300 } });
    const { name } = app.client;
    const status = async () => (await app.health.check(name))[name]!.status;
    await firstValueFrom(app.orders.get({ id: '1' }));
    expect(await status()).toBe('up');
    const { advance, until } = holdTimers();
    let closed = false;
    void app.close().then(() => (closed = true));
    // Waits for the turns of the event loop in which the close begins.
    await turns();
    expect(await status()).toBe('down');
    await advance(299);
    await firstValueFrom(app.orders.get({ id: '2' }));
    expect(closed).toBe(false);
    await advance(1);
    await until(() => closed);
    expect(server.counts('Get').answered).toBe(2);
  });
});
