import { ScriptedGrpcServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { ORDERS_PROTO, startOrdersApp } from '../support/orders-app.js';

const KiB = 1_024;

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled({ timeoutMs: 20_000 }));
});

it('sends 60 large calls in the order of their start if all of them start while the channel is connecting', async () => {
  const server = await ScriptedGrpcServer.start({
    protoPath: ORDERS_PROTO,
    scripts: { Create: { message: {} } },
  });
  onTestFinished(() => server.close());
  // The limit is far below 60, because it applies only during an outage and must not affect these calls.
  const app = await startOrdersApp({ url: server.url, maxWaitingCalls: 5 });
  onTestFinished(() => app.close());
  const numbers = Array.from({ length: 60 }, (_, index) => String(index));
  const item = 'x'.repeat(272 * KiB);
  const calls = numbers.map((requestId) => firstValueFrom(app.orders.create({ requestId, item, quantity: 1 })));
  expect(app.client.snapshot().waiting).toBe(60);
  await Promise.all(calls);
  expect(server.calls('Create').map(({ requests }) => (requests[0] as { requestId: string }).requestId)).toEqual(
    numbers,
  );
});
