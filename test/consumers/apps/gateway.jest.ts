/** Unit tests with Jest: the gateway with a scripted server. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Test } from '@nestjs/testing';
import { ScriptedGrpcServer, failOnLeaks, overrideGrpcClient } from 'nestjs-resilient-grpc/testing';
import { GatewayModule } from './gateway.js';

failOnLeaks(beforeEach, afterEach, { timeoutMs: 60_000 });

test('reads an order while the server restarts', async () => {
  const scripts = { Get: { message: { id: '7', item: 'tea' } } };
  const server = await ScriptedGrpcServer.start({ protoPath: 'protos/orders.proto', scripts });
  const builder = overrideGrpcClient(Test.createTestingModule({ imports: [GatewayModule] }), 'orders', {
    url: server.url,
    outageGraceMs: 60_000,
  });
  const app = (await builder.compile()).createNestApplication({ logger: false });
  await app.listen(0, '127.0.0.1');

  await server.stop('kill-connections');
  const answer = fetch(`${await app.getUrl()}/orders/7`, { headers: { connection: 'close' } });
  await server.restart();
  expect(await (await answer).json()).toMatchObject({ id: '7', item: 'tea' });
  expect(server.counts('Get').calls).toBe(1);

  await app.close();
  await server.close();
});
