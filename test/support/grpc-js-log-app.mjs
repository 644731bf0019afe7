// An application in its own process, because grpc-js reads GRPC_TRACE when it is imported. Usage:
//   node grpc-js-log-app.mjs URL OPTIONS TIMEOUT_MS
// OPTIONS are the options of forRoot, as JSON. Makes a call with the timeout TIMEOUT_MS, closes the application, and then connects with
// grpc-js alone. Writes each line of Nest's logger to stdout, as JSON, and '--- closed' to stderr after the application has closed.
import 'reflect-metadata';
import { fileURLToPath } from 'node:url';
import { Client, credentials } from '@grpc/grpc-js';
import { NestFactory } from '@nestjs/core';
import { ResilientGrpcModule, getGrpcServiceToken } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';

const [url, options, timeoutMs] = process.argv.slice(2);
const client = {
  name: 'orders',
  protoPath: fileURLToPath(new URL('../../protos/orders.proto', import.meta.url)),
  url,
  metadata: { authorization: 'Bearer sesame-token' },
};
const write = (level) => (message, context) => {
  process.stdout.write(`${JSON.stringify({ level, context, text: String(message), fields: message })}\n`);
};
const logger = { debug: write('debug'), log: write('log'), warn: write('warn'), error: write('error') };
class AppModule {}
const imports = [ResilientGrpcModule.forRoot(JSON.parse(options)), ResilientGrpcModule.forFeature([client])];
const app = await NestFactory.createApplicationContext({ module: AppModule, imports }, { logger });
const orders = app.get(getGrpcServiceToken('orders', 'Orders'), { strict: false });
await firstValueFrom(orders.get({ id: '1' }, { timeoutMs: Number(timeoutMs) })).catch(() => undefined);
await app.close();
process.stderr.write('--- closed\n');
const plain = new Client(url, credentials.createInsecure());
await new Promise((resolve) => plain.waitForReady(Date.now() + 200, resolve));
plain.close();
