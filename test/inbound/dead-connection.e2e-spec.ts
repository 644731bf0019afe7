import { FaultProxy, ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, it } from 'vitest';
import { startOrdersApp } from '../support/orders-app.js';
import { ORDERS_PROTO, startHop } from './hop.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

// The caller cancels each call 60 ms before the deadline, as if its clock were ahead. The outgoing call has the same deadline.
it.each([
  ['an Observable', 'plain'],
  ['a promise', 'awaited'],
])(
  'replaces a dead connection even if deadlines and cancellation are propagated to all outgoing calls, and handlers return %s',
  { timeout: 120_000 },
  async (_what, way) => {
    const server = await ScriptedGrpcServer.start({
      protoPath: ORDERS_PROTO,
      scripts: { Get: ({ request }) => ({ message: request }) },
    });
    const proxy = await FaultProxy.start(server.url);
    const propagate = { deadline: true, cancellation: true };
    const hop = await startHop({ downstream: proxy.url, server: 'resilient', root: { propagate } });
    const app = await startOrdersApp({ url: hop.url });
    const get = () =>
      firstValueFrom(app.orders.get({ id: `${way}:1` }, { timeoutMs: 1_000, signal: AbortSignal.timeout(940) })).then(
        () => true,
        () => false,
      );
    await waitFor(get, { timeoutMs: 20_000 });
    proxy.holdBytes();
    await waitFor(get, { timeoutMs: 40_000 });
    await app.close();
    await hop.close();
    await proxy.close();
    await server.close();
  },
);
