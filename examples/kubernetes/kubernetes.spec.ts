import { setTimeout as delay } from 'node:timers/promises';
import type { INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { ResilientGrpcServer } from 'nestjs-resilient-grpc/server';
import { overrideGrpcClient } from 'nestjs-resilient-grpc/testing';
import { expect, it, onTestFinished } from 'vitest';
import { GatewayModule } from './gateway.module.js';

async function startPod(): Promise<INestMicroservice> {
  process.env['GRPC_URL'] = '127.0.0.1:0';
  const { OrdersModule } = await import('./orders.module.js');
  delete process.env['GRPC_URL'];
  const pod = await NestFactory.createMicroservice(OrdersModule, {
    inject: [ResilientGrpcServer],
    useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
    logger: false,
  });
  onTestFinished(() => pod.close());
  await pod.listen();
  return pod;
}

it('serves every request while a pod terminates, and turns unready before it stops', async () => {
  const pods = [await startPod(), await startPod()] as const;
  const addresses = pods.map((pod) => `127.0.0.1:${pod.get(ResilientGrpcServer).port}`);
  const builder = Test.createTestingModule({ imports: [GatewayModule] });
  // The addresses that the headless service would have, and time for this test instead of 25 s.
  const testing = await overrideGrpcClient(builder, 'orders', { url: `ipv4:${addresses.join(',')}` }).compile();
  const gateway = testing.createNestApplication({ forceCloseConnections: true, logger: false });
  await gateway.listen(0, '127.0.0.1');
  const base = await gateway.getUrl();
  const status = async (path: string) => (await fetch(base + path)).status;

  expect(await status('/health/ready')).toBe(200);
  let terminating = true;
  const terminated = pods[0].close().then(() => (terminating = false));
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
