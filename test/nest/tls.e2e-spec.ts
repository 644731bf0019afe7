import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { NestFactory } from '@nestjs/core';
import {
  ResilientGrpcModule,
  getGrpcClientToken,
  getGrpcServiceToken,
  type GrpcClientSettings,
  type Resilient,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CallbackCall } from '../calls/callback-calls.js';
import type { OrdersClient } from './orders-client.js';
import { ORDERS_PROTO, certificate } from './places.js';

const leaks = captureLeaks();
const pem = (name: string) => readFileSync(certificate(name), 'utf8');
let server: ScriptedGrpcServer;

beforeEach(() => {
  server = undefined as unknown as ScriptedGrpcServer;
});
afterEach(() => server.close());
afterAll(() => leaks.settled());

async function serve(name: string, ca?: string): Promise<void> {
  const tls = { key: pem(`${name}-key`), cert: pem(name), ...(ca === undefined ? {} : { ca: pem(ca) }) };
  server = await ScriptedGrpcServer.start({
    protoPath: ORDERS_PROTO,
    tls,
    scripts: { Get: { message: { id: '1', item: 'tea' } } },
  });
}

/** Makes one call from an application whose client has these settings. */
async function call(settings: Partial<GrpcClientSettings>): Promise<unknown> {
  const url = `localhost:${String(server.port)}`;
  const feature = ResilientGrpcModule.forFeature([
    { name: 'orders', protoPath: ORDERS_PROTO, url, outageGraceMs: 100, timeoutMs: 20_000, ...settings },
  ]);
  const app = await NestFactory.createApplicationContext(feature, { logger: false, abortOnError: false });
  try {
    return await firstValueFrom(
      app.get<Resilient<OrdersClient>>(getGrpcServiceToken('orders', 'Orders')).get({ id: '1' }),
    );
  } finally {
    await app.close();
  }
}

describe('TLS', () => {
  it('gives calls of a callback client the address and the certificate of the server', async () => {
    await serve('server');
    const url = `localhost:${String(server.port)}`;
    const tls = { ca: certificate('ca') };
    const feature = ResilientGrpcModule.forFeature([{ name: 'orders', protoPath: ORDERS_PROTO, url, tls }]);
    const app = await NestFactory.createApplicationContext(feature, { logger: false, abortOnError: false });
    try {
      const client = app.get<ResilientGrpcClient>(getGrpcClientToken('orders')).getClientByServiceName<{
        get(request: object, done: (error: Error | null) => void): CallbackCall;
      }>('Orders');
      let call!: CallbackCall;
      await new Promise<void>((resolve, reject) => {
        call = client.get({ id: '1' }, (error) => (error === null ? resolve() : reject(error)));
        expect(call.getPeer()).toContain(url);
      });
      expect(call.getPeer()).toMatch(new RegExp(`:${String(server.port)}$`));
      expect(call.getAuthContext()).toMatchObject({
        transportSecurityType: 'ssl',
        sslPeerCertificate: { subject: {} },
      });
    } finally {
      await app.close();
    }
  });

  it('trusts the given CA, passed as a path, a PEM string, or a Buffer', async () => {
    await serve('server');
    for (const ca of [certificate('ca'), pem('ca'), Buffer.from(pem('ca'))]) {
      expect(await call({ tls: { ca } })).toMatchObject({ item: 'tea' });
    }
  });

  it('rejects a server certificate from an untrusted CA', async () => {
    await serve('server');
    await expect(call({ tls: {} })).rejects.toMatchObject({ codeName: 'UNAVAILABLE', reachedServer: 'no' });
  });

  it('accepts a server certificate for another name only if serverName is set to that name', async () => {
    await serve('named');
    const ca = certificate('ca');
    await expect(call({ tls: { ca } })).rejects.toMatchObject({ codeName: 'UNAVAILABLE' });
    expect(await call({ tls: { ca, serverName: 'orders.internal' } })).toMatchObject({ item: 'tea' });
  });

  it('accepts client credentials created by grpc-js', async () => {
    await serve('server');
    expect(await call({ credentials: credentials.createSsl(Buffer.from(pem('ca'))) })).toMatchObject({ item: 'tea' });
  });
});

describe('mutual TLS', () => {
  const ca = certificate('ca');

  it('presents the client certificate to a server that requires mutual TLS', async () => {
    await serve('server', 'ca');
    expect(await call({ tls: { ca, cert: certificate('client'), key: certificate('client-key') } })).toMatchObject({
      item: 'tea',
    });
  });

  it('fails a call to a server that requires mutual TLS if the client certificate is missing or from an untrusted CA', async () => {
    await serve('server', 'ca');
    await expect(call({ tls: { ca } })).rejects.toMatchObject({ code: 14 });
    await expect(
      call({ tls: { ca, cert: certificate('untrusted'), key: certificate('untrusted-key') } }),
    ).rejects.toMatchObject({ code: 14 });
  });

  it('fails at startup if the key of the client does not belong to the client certificate', async () => {
    await serve('server', 'ca');
    await expect(call({ tls: { ca, cert: certificate('client'), key: certificate('next-key') } })).rejects.toThrow(
      /clients\.orders\.tls\.key: expected the private key of the first certificate in `cert`, got another key/,
    );
  });

  it('accepts client certificate files with reload: true', async () => {
    await serve('server', 'ca');
    const folder = mkdtempSync(join(tmpdir(), 'tls-'));
    try {
      const [cert, key] = [join(folder, 'tls.crt'), join(folder, 'tls.key')];
      copyFileSync(certificate('client'), cert);
      copyFileSync(certificate('client-key'), key);
      expect(await call({ tls: { ca, cert, key, reload: true } })).toMatchObject({ item: 'tea' });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
