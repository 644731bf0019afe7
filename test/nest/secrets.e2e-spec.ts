import { inspect } from 'node:util';
import { Metadata, experimental } from '@grpc/grpc-js';
import { Test } from '@nestjs/testing';
import type { NestExpressApplication } from '@nestjs/platform-express';
import fc from 'fast-check';
import {
  GrpcCallError,
  GrpcClients,
  ResilientGrpcModule,
  type GrpcClientSettings,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { ResilientGrpcDashboardModule } from 'nestjs-resilient-grpc/dashboard';
import { ResilientGrpcTelemetryModule } from 'nestjs-resilient-grpc/telemetry';
import { FaultProxy, ScriptedGrpcServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { command } from '../doctor/support.js';
import { CapturedLog } from '../support/captured-log.js';
import { collectTelemetry } from '../telemetry/collected-telemetry.js';
import type { OrdersClient } from './orders-client.js';
import { ORDERS_PROTO } from './places.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** Strings shaped like a token or password: 24 letters and digits that occur nowhere else. */
const secrets = fc.stringMatching(/^Zq[a-z0-9]{22}$/);
/** Suffixes of secrets. Most contain characters that have a special meaning in URLs. */
const suffixes = fc.constantFrom('', '!', '#1', '%40', '/x', '@x', '?', '&a=b', ':y');

/** The body of a PEM key, without its BEGIN and END lines. */
const keyOf = (secret: string) => secret.slice(0, 24).padEnd(64, 'A');

/** Options that contain a secret, each invalid in a different way. */
const WRONG: readonly ((secret: string) => Record<string, unknown>)[] = [
  (secret) => ({ url: `me:${secret}@127.0.0.1:1` }),
  (secret) => ({ url: `http://me:${secret}@127.0.0.1:1` }),
  (secret) => ({ url: `https://${secret}@127.0.0.1:1/` }),
  (secret) => ({ url: `dns:///me:${secret}@127.0.0.1:1` }),
  (secret) => ({ url: `dns://me:${secret}@127.0.0.1/orders:1` }),
  (secret) => ({ url: `me:${secret} @127.0.0.1:1` }),
  (secret) => ({ url: `me:${secret}@127.0.0.1:99999` }),
  (secret) => ({ loadBalancing: `me:${secret}${'x'.repeat(60)}@config` }),
  (secret) => ({ serviceConfig: `http://me:${secret}@config` }),
  (secret) => ({ loadBalancing: `me:${secret}@config` }),
  (secret) => ({ tls: secret }),
  (secret) => ({ tls: { ca: keyOf(secret) } }),
  (secret) => ({ tls: { cert: `-----BEGIN CERTIFICATE-----\n${secret}\n-----END CERTIFICATE-----` } }),
  (secret) => ({ tls: { key: keyOf(secret), cert: keyOf(secret) } }),
  (secret) => ({ tls: { key: Buffer.from(`-----BEGIN PRIVATE KEY-----\n${secret}\n`) } }),
  (secret) => ({ credentials: secret }),
  (secret) => ({ metadata: secret }),
  (secret) => ({ metadata: { authorization: `Bearer ${secret}\n` } }),
  (secret) => ({ metadata: { 'token-bin': secret } }),
  (secret) => ({ metadata: { authorization: { value: secret } } }),
  (secret) => ({ channelOptions: { 'grpc.http_connect_creds': `me:${secret}\n` } }),
  (secret) => ({ password: secret, timeoutMs: -1 }),
  (secret) =>
    Object.defineProperty({}, 'timeoutMs', {
      enumerable: true,
      get: () => {
        throw new Error(`redis://me:${secret}@cache is down`);
      },
    }),
];

/** Starts a gRPC server, and an application with a log, metrics, spans, and the dashboard. */
async function startScene() {
  const telemetry = collectTelemetry();
  const log = new CapturedLog();
  const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
  const module = await Test.createTestingModule({
    imports: [
      ResilientGrpcTelemetryModule.forRoot(),
      ResilientGrpcModule.forRoot(),
      ResilientGrpcDashboardModule.forRoot({ public: true }),
    ],
  })
    .setLogger(log)
    .compile();
  const app = module.createNestApplication<NestExpressApplication>();
  await app.listen(0, '127.0.0.1');
  const page = `${await app.getUrl()}/grpc/snapshot`;
  onTestFinished(async () => {
    await app.close();
    await server.close();
  });
  return {
    server,
    clients: app.get(GrpcClients),
    /** Everything written so far, except errors. */
    written: async () =>
      [
        inspect(log.lines, { depth: 9, maxStringLength: null, maxArrayLength: null }),
        await (await fetch(page)).text(),
        inspect(await telemetry.instruments(), { depth: 12, maxStringLength: null, maxArrayLength: null }),
        ...telemetry
          .spans()
          .map(({ name, attributes, events, status: end }) => inspect({ name, attributes, events, end }, { depth: 9 })),
      ].join('\n'),
  };
}

/** A resolver that reports no addresses. */
class EmptyResolver {
  constructor(
    _target: unknown,
    private readonly report: ConstructorParameters<Parameters<typeof experimental.registerResolver>[1]>[1],
  ) {}
  static getDefaultAuthority(): string {
    return 'vault';
  }
  updateResolution(): void {
    setImmediate(() => this.report(experimental.statusOrFromValue([]), {}, null, ''));
  }
  destroy(): void {
    // This resolver holds no resources.
  }
}

/** Expected status of a call to a server that responds, fails the call, resets the connection, or is down. */
const STATUS = { ok: 'OK', failed: 'INTERNAL', reset: 'UNAVAILABLE', down: 'UNAVAILABLE' } as const;
type Way = keyof typeof STATUS;

/** An error as loggers print it. */
const printed = (error: unknown) => inspect(error, { depth: 9, showHidden: true, maxStringLength: null });

describe('secret', () => {
  it('shows no secret in errors about invalid options', async () => {
    const { clients } = await startScene();
    fc.assert(
      fc.property(secrets, suffixes, fc.constantFrom(...WRONG), (secret, suffix, wrong) => {
        let error: unknown;
        const base = { name: 'orders', protoPath: ORDERS_PROTO, url: '127.0.0.1:1' };
        const options = Object.defineProperties(base, Object.getOwnPropertyDescriptors(wrong(secret + suffix)));
        try {
          clients.create(options);
        } catch (thrown) {
          error = thrown;
        }
        expect(error).toHaveProperty('name', 'GrpcConfigurationError');
        expect(printed(error)).not.toContain(secret);
      }),
      { numRuns: 600 },
    );
  });

  it('leaks no secret from metadata or messages into logs, snapshots, pages, metrics, spans, or errors', async () => {
    const { clients, server, written } = await startScene();
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const errors: string[] = [];
    const planted: string[] = [];
    await fc.assert(
      fc.asyncProperty(secrets, fc.constantFrom<Way[]>('ok', 'failed', 'reset', 'down'), async (secret, how) => {
        planted.push(secret);
        server.script<{ id: string }>('orders.v1.Orders/Get', ({ request }) => {
          if (how === 'failed') return { status: 'INTERNAL', details: 'no' };
          if (how !== 'reset') return { message: { id: request.id, item: secret } };
          proxy.resetAll();
          return { never: true };
        });
        const metadata = new Metadata();
        metadata.set('x-api-key', secret);
        const client: ResilientGrpcClient = clients.create({
          name: `orders-${how}`,
          protoPath: ORDERS_PROTO,
          url: how === 'down' ? '127.0.0.1:1' : proxy.url,
          outageGraceMs: 0,
          metadata: {
            authorization: `Bearer ${secret}`,
            cookie: `session=${secret}`,
            'token-bin': Buffer.from(secret),
          },
        });
        const orders = client.getService<OrdersClient>('orders.v1.Orders');
        let ended = 'OK';
        await firstValueFrom(orders.get({ id: secret }, metadata)).catch((error: unknown) => {
          ended = error instanceof GrpcCallError ? error.codeName : String(error);
          errors.push(printed(error));
        });
        await firstValueFrom(orders.get({ id: secret }, { metadata: { 'x-api-key': `${secret}\n` } })).catch(
          (error: unknown) => errors.push(printed(error)),
        );
        errors.push(
          inspect(client.snapshot(), { depth: 12 }),
          inspect(client.activeCalls(), { depth: 12 }),
          // Deeper than Nest's logger, which prints objects to a depth of 5.
          inspect({ client, clients }, { depth: 9 }),
          JSON.stringify({ client, clients }),
        );
        await client.close();
        expect(ended).toBe(STATUS[how]);
      }),
      { numRuns: 24 },
    );
    const all = `${await written()}\n${errors.join('\n')}`;
    expect(all).toContain('orders.v1.Orders/Get');
    for (const secret of planted) {
      expect(all).not.toContain(secret);
      expect(all).not.toContain(Buffer.from(secret).toString('base64'));
    }
  });

  it.each<[string, (secret: string) => Partial<GrpcClientSettings>, string]>([
    [
      'a metadata function',
      (secret) => ({
        metadata: () => {
          const metadata = new Metadata();
          metadata.set('authorization', `Bearer ${secret}\n`);
          return metadata;
        },
      }),
      'The call could not be prepared: Metadata string value "***" contains illegal characters',
    ],
    [
      'an onAttempt hook',
      (secret) => ({
        interceptors: [{ onAttempt: ({ metadata }) => metadata.set('authorization', `Bearer ${secret}\n`) }],
      }),
      'The call could not be prepared: Metadata string value "***" contains illegal characters',
    ],
  ])('leaks no invalid metadata value that %s sets, except in the cause of the error', async (_, settings, details) => {
    const { clients, server, written } = await startScene();
    const secret = 'Zq0000000000000000000000';
    const client = clients.create({
      name: 'orders',
      protoPath: ORDERS_PROTO,
      url: server.url,
      ...settings(secret),
    });
    const orders = client.getService<OrdersClient>('orders.v1.Orders');
    const error = await firstValueFrom(orders.get({ id: '1' })).catch((thrown: unknown) => thrown as GrpcCallError);
    expect(error).toMatchObject({ details, cause: { message: expect.stringContaining(secret) } });
    expect((error as GrpcCallError).message).not.toContain(secret);
    expect(client.snapshot().errors).toMatchObject([{ details }]);
    expect(`${await written()}${inspect(client.snapshot(), { depth: 12 })}`).not.toContain(secret);
  });

  it('masks credentials in upstream status details on the dashboard and in the snapshot, but not in the error', async () => {
    const { clients, server, written } = await startScene();
    const details = 'postgres://app:hunter2@db refused Bearer Zqabc.def.ghi';
    server.script('orders.v1.Orders/Get', { status: 'INTERNAL', details });
    const client = clients.create({ name: 'orders', protoPath: ORDERS_PROTO, url: server.url });
    const orders = client.getService<OrdersClient>('orders.v1.Orders');
    const error = await firstValueFrom(orders.get({ id: '1' })).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ details });
    expect(client.snapshot().errors).toMatchObject([{ details: 'postgres://***@db refused Bearer ***' }]);
    const page = (await written()).split('\n').find((line) => line.startsWith('{"version"'));
    expect(page).toContain('postgres://***@db');
    expect(page).not.toMatch(/hunter2|Zqabc/);
  });

  it('leaks no secret from the target of a custom resolver into logs, snapshots, pages, metrics, spans, or errors', async () => {
    const { clients, written } = await startScene();
    const errors: string[] = [];
    const secret = 'Zq0000000000000000000000';
    experimental.registerResolver('vault', EmptyResolver);
    for (const url of [
      `vault://me:${secret}@agent:8500/orders`,
      `vault://${secret}@agent/orders`,
      `vault:///me:${secret}@agent/orders`,
      `vault:me:${secret}@agent`,
    ]) {
      const client = clients.create({
        name: `orders-${String(errors.length)}`,
        protoPath: ORDERS_PROTO,
        url,
        outageGraceMs: 0,
      });
      const orders = client.getService<OrdersClient>('orders.v1.Orders');
      const error: unknown = await firstValueFrom(orders.get({ id: '1' })).catch((thrown: unknown) => thrown);
      expect(error).toHaveProperty('message', expect.stringContaining('the server cannot be reached'));
      errors.push(printed(error), inspect(client.snapshot(), { depth: 12 }), inspect(client, { depth: 12 }));
      await client.close();
    }
    const all = `${await written()}\n${errors.join('\n')}`;
    expect(all).toContain('***@agent');
    expect(all).not.toContain(secret);
  });

  it('leaks no secret from a URL into the output of the doctor', async () => {
    const secret = 'Zq0000000000000000000000';
    for (const url of [
      `me:${secret}@127.0.0.1:1`,
      `http://me:${secret}@127.0.0.1:1`,
      `dns:///me:${secret}@127.0.0.1:1`,
    ]) {
      for (const form of [[], ['--json']]) {
        const { code, stdout, stderr } = await command(['doctor', url, '--timeout', '1s', ...form]);
        expect(code).toBe(1);
        expect(stdout).toContain('***@127.0.0.1:1');
        expect(stdout + stderr).not.toContain(secret);
      }
    }
    const { stdout, stderr } = await command(['doctor', '--service-config', `http://me:${secret}@config`]);
    expect(stdout + stderr).not.toContain(secret);
  });
});
