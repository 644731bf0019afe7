import { NestFactory } from '@nestjs/core';
import { ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { OrdersGateway } from './orders.gateway.js';

let server: ScriptedGrpcServer;

beforeAll(async () => {
  const scripts = { Get: { message: { id: '7', item: 'tea' } } };
  server = await ScriptedGrpcServer.start({ protoPath: 'protos/orders.proto', scripts });
  process.env['ORDERS_URL'] = server.url;
});
afterAll(async () => {
  delete process.env['ORDERS_URL'];
  await server.close();
});

/** Makes a call, stops the server, makes a second call, and starts the server again. Returns the items, or the error's message. */
async function callAcrossRestart(imports: object[]): Promise<readonly unknown[]> {
  class AppModule {}
  const module = { module: AppModule, imports, providers: [OrdersGateway] } as never;
  const app = await NestFactory.createApplicationContext(module, { logger: false });
  const item = () =>
    firstValueFrom(app.get(OrdersGateway).get('7')).then(
      (order) => order.item,
      (error: unknown) => (error as Error).message,
    );
  const first = await item();
  await server.stop('kill-connections');
  const second = item();
  const early = await Promise.race([second, new Promise((resolve) => setTimeout(resolve, 300, 'waits'))]);
  await server.restart();
  const results = [first, early, await second];
  await app.close();
  return results;
}

it("loses a call during a restart with Nest's ClientsModule", async () => {
  const { OrdersClientModule } = await import('./before.js');
  const [first, early] = await callAcrossRestart([OrdersClientModule]);
  expect(first).toBe('tea');
  expect(early).toMatch(/^14 UNAVAILABLE/);
});

it('lets the same call of the same code wait with ResilientGrpcModule', async () => {
  const { OrdersClientModule } = await import('./after.js');
  expect(await callAcrossRestart([OrdersClientModule])).toEqual(['tea', 'waits', 'tea']);
});
