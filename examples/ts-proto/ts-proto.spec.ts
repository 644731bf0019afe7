import { Test } from '@nestjs/testing';
import { ScriptedGrpcServer, overrideGrpcClient } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { expect, it, onTestFinished } from 'vitest';
import { generatedCode } from '../support.js';
import { OrdersGateway, OrdersModule } from './orders.module.js';

it('sends and receives messages that ts-proto encodes, with bigints', async () => {
  const server = await ScriptedGrpcServer.start({
    protoPath: 'protos/orders.proto',
    loader: { longs: String },
    scripts: {
      // The first attempt fails. `idempotent: true` permits another one.
      Get: [{ status: 'UNAVAILABLE' }, { message: { id: '7', item: 'tea', sequence: '9007199254740993' } }],
      Watch: { messages: [{ sequence: '1' }, { sequence: '2' }] },
    },
  });
  onTestFinished(() => server.close());
  const builder = Test.createTestingModule({ imports: [OrdersModule] });
  const app = await overrideGrpcClient(builder, 'orders', { url: server.url }).compile();
  onTestFinished(() => app.close());
  const { orders } = app.get(OrdersGateway);

  expect(await firstValueFrom(orders.get({ id: '7' }))).toMatchObject({ item: 'tea', sequence: 9007199254740993n });
  const seen: bigint[] = [];
  for await (const event of orders.watch({ from: 0n })) seen.push(event.sequence);
  expect(seen).toEqual([1n, 2n]);
});

it('has generated code that is up to date (`npx buf generate` in this folder regenerates it)', () => {
  const { committed, generated } = generatedCode(import.meta.dirname);
  expect(committed).toEqual(generated);
});
