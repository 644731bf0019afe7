import { setTimeout as delay } from 'node:timers/promises';
import { Test } from '@nestjs/testing';
import { overrideGrpcClient, type ChildServer } from 'nestjs-resilient-grpc/testing';
import { expect, it, onTestFinished } from 'vitest';
import { startProgram } from '../support.js';
import { GatewayModule } from './gateway.module.js';

async function startPod(): Promise<ChildServer> {
  const pod = await startProgram('kubernetes/orders.main.ts', { GRPC_URL: '127.0.0.1:0' });
  onTestFinished(() => pod.close());
  return pod;
}

it('serves every request while a pod terminates, and turns unready before it stops', async () => {
  const pods = await Promise.all([startPod(), startPod()]);
  const addresses = pods.map(({ url }) => url);
  const builder = Test.createTestingModule({ imports: [GatewayModule] });
  // The addresses that the headless service would have, and time for this test instead of 25 s.
  const testing = await overrideGrpcClient(builder, 'orders', { url: `ipv4:${addresses.join(',')}` }).compile();
  const gateway = testing.createNestApplication({ forceCloseConnections: true, logger: false });
  await gateway.listen(0, '127.0.0.1');
  const base = await gateway.getUrl();
  const status = async (path: string) => (await fetch(base + path)).status;

  expect(await status('/health/ready')).toBe(200);
  let terminating = true;
  const terminated = pods[0].terminate(30_000).then(() => (terminating = false));
  const seen = new Set<number>();
  while (terminating) {
    seen.add(await status('/orders/7'));
    await delay(20);
  }
  await terminated;
  for (let i = 0; i < 10; i++) seen.add(await status('/orders/7'));
  expect([...seen]).toEqual([200]);

  const closing = gateway.close();
  expect(await status('/health/ready')).toBe(503);
  expect(await status('/orders/7')).toBe(200);
  await closing;
});
