import { FaultProxy, waitFor, type ChildServer } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startProgram } from '../support.js';

let service: ChildServer;
let replacement: ChildServer;
let gateway: ChildServer;
let address: FaultProxy;

beforeAll(async () => {
  // Starts the replacement in advance, because a busy machine might not start it within the 5 s for which calls wait.
  [service, replacement] = await Promise.all([
    startProgram('first-call/orders-service.ts'),
    startProgram('first-call/orders-service.ts'),
  ]);
  address = await FaultProxy.start(service.url);
  gateway = await startProgram('first-call/main.ts', { ORDERS_URL: address.url });
});
afterAll(async () => {
  await Promise.all([gateway, address, service, replacement].map((resource) => resource.close()));
});

const getOrder = async () => {
  const response = await fetch(`http://${gateway.url}/orders/7`, { headers: { connection: 'close' } });
  return { status: response.status, body: await response.json() };
};
const logged = (text: string) => waitFor(() => gateway.output.some((line) => line.includes(text)), { describe: text });

it('serves an order, lets a request wait while the service restarts, and says so', async () => {
  const served = { status: 200, body: { id: '7', item: 'tea' } };
  expect(await getOrder()).toEqual(served);

  address.refuse();
  await service.kill();
  const waiting = getOrder();
  await logged('outage: ');
  address.retarget(replacement.url);
  await address.forward();
  expect(await waiting).toEqual(served);
  await logged('reconnected after');
});

it('ends on SIGTERM', async () => {
  await gateway.terminate();
  await logged('1 client drained');
});
