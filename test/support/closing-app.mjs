// An application in its own process. It reports the state of its client over IPC, and closes when it receives an IPC message. The process
// must then exit on its own. Usage:
//   node closing-app.mjs URL [--tls] [--connect-timeout MS]
import 'reflect-metadata';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { NestFactory } from '@nestjs/core';
import { ResilientGrpcModule, getGrpcClientToken } from 'nestjs-resilient-grpc';

const { values, positionals } = parseArgs({
  options: { tls: { type: 'boolean' }, 'connect-timeout': { type: 'string', default: '2000' } },
  allowPositionals: true,
});
const options = {
  name: 'orders',
  protoPath: fileURLToPath(new URL('../../protos/orders.proto', import.meta.url)),
  url: positionals[0],
  connections: { connectTimeoutMs: Number(values['connect-timeout']) },
  ...(values.tls ? { tls: { serverName: 'localhost' } } : {}),
};
class AppModule {}
const imports = [ResilientGrpcModule.forRoot({ drain: { timeoutMs: 200 } }), ResilientGrpcModule.forFeature([options])];
const app = await NestFactory.createApplicationContext({ module: AppModule, imports }, { logger: false });
const client = app.get(getGrpcClientToken('orders'));
client.connectivity$.subscribe(({ state }) => process.connected && process.send({ state }));
client
  .getService('Orders')
  .get({ id: '1' })
  .subscribe({ error: () => undefined });
process.once('message', async () => {
  process.disconnect();
  await app.close();
});
