import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Test } from '@nestjs/testing';
import { ScriptedGrpcServer, overrideGrpcClient } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { expect, it, onTestFinished } from 'vitest';
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
  const output = mkdtempSync(join(tmpdir(), 'ts-proto-'));
  onTestFinished(() => {
    rmSync(output, { recursive: true });
  });
  const bin = join(import.meta.dirname, '../../node_modules/.bin');
  const env = { ...process.env, PATH: [bin, process.env['PATH']].join(delimiter) };
  execFileSync(join(bin, 'buf'), ['generate', '--output', output], { cwd: import.meta.dirname, env, stdio: 'pipe' });
  for (const file of ['gen/orders.pb.ts', 'gen/orders.nest.pb.ts'])
    expect(readFileSync(join(output, file), 'utf8')).toBe(readFileSync(join(import.meta.dirname, file), 'utf8'));
});
