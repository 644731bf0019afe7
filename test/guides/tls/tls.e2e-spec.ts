import { copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod } from '@nestjs/microservices';
import { getGrpcServiceToken, type Resilient } from 'nestjs-resilient-grpc';
import { ResilientGrpcServer } from 'nestjs-resilient-grpc/server';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { OrdersClient } from '../../../src/gen/orders.pb.js';
import { ROOT } from '../../docs/markdown.js';
import { ORDERS_PROTO, certificate } from '../../support/orders-app.js';
import { shown, type Changes } from '../shown.js';

const leaks = captureLeaks();
let folder: string;
let url: string;
let stop: () => Promise<void>;

@Controller()
class OrdersController {
  @GrpcMethod('Orders') get() {
    return { item: 'tea' };
  }
}

/** Installs the certificate `name` and its key for the server or the client. */
function installCertificate(side: 'server' | 'client', name: string): void {
  copyFileSync(certificate(`${name}-key`), join(folder, `${side}.key`));
  copyFileSync(certificate(name), join(folder, `${side}.crt`));
}

/** Loads a module of the page with `changes`. */
async function loadModule(file: string, changes: Changes): Promise<Type> {
  const path = join(folder, `${Object.values(changes).join('').replaceAll(/\W+/g, '-')}-${file}`);
  const replacements = { 'orders.proto': ORDERS_PROTO, '/etc/tls/ca.crt': certificate('ca') };
  writeFileSync(path, shown('tls', file, { ...replacements, ...changes }));
  return Object.values((await import(path)) as Record<string, Type>)[0]!;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tls-'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  installCertificate('server', 'server');
  const OrdersModule = await loadModule('orders.module.ts', {
    '/etc/tls/tls.crt': join(folder, 'server.crt'),
    '/etc/tls/tls.key': join(folder, 'server.key'),
    '0.0.0.0:50051': '127.0.0.1:0',
    '10_000': '100',
  });
  class ServiceModule {}
  Module({ imports: [OrdersModule], controllers: [OrdersController] })(ServiceModule);
  const app = await NestFactory.createMicroservice(ServiceModule, {
    inject: [ResilientGrpcServer],
    useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
    logger: false,
  });
  await app.listen();
  url = `localhost:${app.get(ResilientGrpcServer).port}`;
  stop = () => app.close();
});
afterAll(async () => {
  await stop();
  rmSync(folder, { recursive: true });
  await leaks.settled();
});

/** Makes one call with the client on the page, using the certificate `name` and its key. */
async function call(name: string, serverName: string, outageGraceMs: number): Promise<unknown> {
  installCertificate('client', name);
  const GatewayModule = await loadModule('gateway.module.ts', {
    '/etc/tls/tls.crt': join(folder, 'client.crt'),
    '/etc/tls/tls.key': join(folder, 'client.key'),
    'orders:50051': url,
    'reload: true': `reload: true, serverName: '${serverName}'`,
    "name: 'orders'": `name: 'orders', outageGraceMs: ${outageGraceMs}`,
  });
  const app = await NestFactory.createApplicationContext(GatewayModule, { logger: false });
  const orders = app.get<Resilient<OrdersClient>>(getGrpcServiceToken('orders', 'Orders'), { strict: false });
  const answer = await firstValueFrom(orders.get({ id: '7' })).catch((error: unknown) => error);
  await app.close();
  return answer;
}

const refused = { codeName: 'UNAVAILABLE', reason: 'outage', reachedServer: 'no' };

it('completes a call from the client to the server of docs/deploy/tls.md', async () => {
  expect(await call('client', 'localhost', 5_000)).toMatchObject({ item: 'tea' });
});

it('fails calls if an untrusted CA issued the client certificate, or if the server name does not match', async () => {
  expect(await call('untrusted', 'localhost', 200)).toMatchObject({ codeName: 'UNAVAILABLE' });
  expect(await call('client', 'orders.internal', 200)).toMatchObject(refused);
});

it('reloads the TLS files of a running server', async () => {
  installCertificate('server', 'named');
  await waitFor(async () => !((await call('client', 'orders.internal', 200)) instanceof Error));
  expect(await call('client', 'localhost', 200)).toMatchObject(refused);
});
