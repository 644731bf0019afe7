import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { failureOf } from '../calls/support.js';
import { NameServer } from '../support/name-server.js';
import { ORDERS_PROTO, aboveDebug, startOrdersApp } from '../support/orders-app.js';

const CLIENT = fileURLToPath(new URL('../support/resolving-client.mjs', import.meta.url));
/** RFC 2606: there is no such name, and will be none. */
const NOWHERE = 'orders.invalid:50051';

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
});

describe('a name that cannot be resolved', () => {
  it.each(['pick_first', 'round_robin'] as const)(
    'is an outage: calls wait for the grace, then fail at once and say why (%s)',
    async (loadBalancing) => {
      const app = await startOrdersApp({ url: NOWHERE, outageGraceMs: 1_500, loadBalancing });
      onTestFinished(() => app.close());
      const { client, orders, health } = app;
      const beganAt = performance.now();
      const held = failureOf(orders.get({ id: '7' }));
      expect(await failureOf(orders.get({ id: '8' }, { waitForReady: false }))).toMatchObject({ reason: 'outage' });
      expect(performance.now() - beganAt).toBeLessThan(1_000);
      expect(await health.checkAll()).toMatchObject({
        [client.name]: { state: 'TRANSIENT_FAILURE', message: 'outage; calls wait' },
      });

      const error = await held;
      expect(error).toMatchObject({ code: 14, reason: 'outage', reachedServer: 'no' });
      expect(error.message).toContain('name resolution failed for dns:orders.invalid:50051');
      expect(performance.now() - beganAt).toBeGreaterThan(1_300);
      const late = performance.now();
      await failureOf(orders.get({ id: '9' }));
      expect(performance.now() - late).toBeLessThan(500);
      expect(await health.checkAll()).toMatchObject({ [client.name]: { status: 'down' } });
      await waitFor(() => aboveDebug(app).some((line) => line.includes('name resolution failed')));
      // It is looked up again, and again.
      await waitFor(() => (client.connectivity.outage?.attempts ?? 0) >= 3, { timeoutMs: 10_000 });
    },
  );

  it('is looked up again until it can be: the call that waited succeeds', async () => {
    const server = await ScriptedGrpcServer.start({
      protoPath: ORDERS_PROTO,
      scripts: { Get: { message: { id: '7' } } },
    });
    onTestFinished(() => server.close());
    const names = await NameServer.start();
    onTestFinished(() => names.close());
    const child = fork(CLIENT, [`dns://${names.url}/orders.example:${server.port}`, ORDERS_PROTO], {
      env: { ...process.env, GRPC_NODE_USE_ALTERNATIVE_RESOLVER: 'true' },
    });
    onTestFinished(async () => {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    });
    const told: Record<string, unknown>[] = [];
    child.on('message', (message) => told.push(message as Record<string, unknown>));
    await waitFor(() => told.some(({ isOutage }) => isOutage === true), { timeoutMs: 10_000 });
    names.knows = true;
    await waitFor(() => told.some(({ id }) => id === '7'), {
      timeoutMs: 10_000,
      describe: () => JSON.stringify(told),
    });
    expect(told.some(({ message }) => message !== undefined)).toBe(false);
  });
});
