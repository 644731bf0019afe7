import { fork } from 'node:child_process';
import { once } from 'node:events';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { failureOf, turns } from '../calls/support.js';
import { bundled } from '../support/bundled.js';
import { NameServer } from '../support/name-server.js';
import { ORDERS_PROTO, aboveDebug, startOrdersApp } from '../support/orders-app.js';
import { recordTiming } from '../support/timing.js';

const CLIENT = bundled(new URL('../support/resolving-client.mjs', import.meta.url));
/** Address whose host name never exists, as RFC 2606 guarantees. */
const NOWHERE = 'orders.invalid:50051';

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled({ timeoutMs: 20_000 }));
});

describe('name that cannot be resolved', () => {
  it.for(['pick_first', 'round_robin'] as const)(
    'starts an outage, keeps calls waiting, and retries the resolution if a name cannot be resolved (%s)',
    { tags: ['timed'] },
    async (loadBalancing, { task }) => {
      const settings = { url: NOWHERE, outageGraceMs: 60_000, loadBalancing };
      const app = await closedAfterTest(startOrdersApp(settings, { drain: { timeoutMs: 50 } }));
      const { client, orders, health } = app;
      const held = failureOf(orders.get({ id: '7' }));
      const beganAt = performance.now();
      const impatient = await failureOf(orders.get({ id: '8' }, { waitForReady: false }));
      recordTiming(task, 'time until a call with waitForReady: false fails, ms', performance.now() - beganAt, {
        atMost: 1_000,
      });
      expect(impatient).toMatchObject({ reason: 'outage' });
      expect(client.snapshot().waiting).toBe(1);
      expect(await health.checkAll()).toMatchObject({
        [client.name]: { state: 'TRANSIENT_FAILURE', message: 'outage; calls wait' },
      });
      await waitFor(() => (client.connectivity.outage?.connectAttempts ?? 0) >= 3, { timeoutMs: 20_000 });
      await app.close();
      expect(await held).toMatchObject({ reason: 'draining', reachedServer: 'no' });
    },
  );

  it.for(['pick_first', 'round_robin'] as const)(
    'fails calls immediately with the cause if a name still cannot be resolved after the outage grace period (%s)',
    { tags: ['timed'] },
    async (loadBalancing, { task }) => {
      const app = await closedAfterTest(startOrdersApp({ url: NOWHERE, outageGraceMs: 500, loadBalancing }));
      const { client, orders, health } = app;
      const beganAt = performance.now();
      const error = await failureOf(orders.get({ id: '7' }));
      expect(error).toMatchObject({ code: 14, reason: 'outage', reachedServer: 'no' });
      expect(error.message).toContain('the name orders.invalid cannot be resolved');
      expect(performance.now() - beganAt).toBeGreaterThan(430);
      const startedAt = performance.now();
      let late: unknown;
      const failed = failureOf(orders.get({ id: '9' })).then((failure) => {
        late = failure;
        recordTiming(task, 'time until a call after the grace period fails, ms', performance.now() - startedAt, {
          atMost: 500,
        });
      });
      // The limit is a number of event-loop turns, so that the speed of the machine does not matter.
      await turns();
      const message = expect.stringContaining('the name orders.invalid cannot be resolved') as unknown;
      expect(late).toMatchObject({ reason: 'outage', message });
      await failed;
      expect(await health.checkAll()).toMatchObject({ [client.name]: { status: 'down' } });
      await waitFor(() => aboveDebug(app).some((line) => line.includes('the name orders.invalid cannot be resolved')), {
        timeoutMs: 20_000,
      });
    },
  );

  it('names the scheme that no resolver serves', async () => {
    const app = await startOrdersApp({ url: 'consul://orders.invalid/orders', outageGraceMs: 0 });
    onTestFinished(() => app.close());
    const error = await failureOf(app.orders.get({ id: '7' }));
    expect(error.message).toContain("no resolver is registered for the scheme 'consul'");
  });

  it(
    'retries the resolution of a name until it succeeds, and then completes the waiting call',
    { timeout: 60_000 },
    async () => {
      const server = await ScriptedGrpcServer.start({
        protoPath: ORDERS_PROTO,
        scripts: { Get: { message: { id: '7' } } },
      });
      onTestFinished(() => server.close());
      const names = await closedAfterTest(NameServer.start());
      const child = fork(CLIENT, [`dns://${names.url}/orders.example:${server.port}`, ORDERS_PROTO], {
        env: { ...process.env, GRPC_NODE_USE_ALTERNATIVE_RESOLVER: 'true' },
      });
      onTestFinished(async () => {
        child.kill('SIGKILL');
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      });
      const messages: Record<string, unknown>[] = [];
      child.on('message', (message) => messages.push(message as Record<string, unknown>));
      await waitFor(() => messages.some(({ isOutage }) => isOutage === true), { timeoutMs: 25_000 });
      names.hasRecords = true;
      await waitFor(() => messages.some(({ id }) => id === '7'), {
        timeoutMs: 20_000,
        describe: () => JSON.stringify(messages),
      });
      expect(messages.some(({ message }) => message !== undefined)).toBe(false);
    },
  );
});
