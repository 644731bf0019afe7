import { ConsoleLogger, Logger, type LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  ResilientGrpcModule,
  getGrpcServiceToken,
  isGrpcCallError,
  type GrpcClientInterceptor,
  type GrpcClientSettings,
  type Resilient,
} from 'nestjs-resilient-grpc';
import { FaultProxy, ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { Logger as NestjsPinoLogger, PinoLogger } from 'nestjs-pino';
import { firstValueFrom } from 'rxjs';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { OrdersClient } from '../nest/orders-client.js';
import { ORDERS_PROTO } from '../nest/places.js';

const leaks = captureLeaks();
type Orders = Resilient<OrdersClient>;
let server: ScriptedGrpcServer;
beforeAll(async () => {
  server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Create: { never: true } } });
});
afterEach(() => {
  vi.restoreAllMocks();
});
afterAll(async () => {
  Logger.overrideLogger(new ConsoleLogger());
  await server.close();
  await leaks.settled();
});

/** Runs an application whose connection is reset during a call to Create. Resolves to the library's lines on stdout and stderr. */
async function captureLines(
  logger: LoggerService,
  { calls, ...settings }: Partial<GrpcClientSettings> & { readonly calls?: (orders: Orders) => Promise<void> } = {},
): Promise<string[]> {
  server.reset();
  const chunks: string[] = [];
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((chunk) => {
      chunks.push(String(chunk));
      return true;
    });
  }
  const proxy = await FaultProxy.start(server.url);
  const client = { name: 'orders', protoPath: ORDERS_PROTO, url: proxy.url, ...settings };
  class AppModule {}
  const app = await NestFactory.createApplicationContext(
    { module: AppModule, imports: [ResilientGrpcModule.forFeature([client])] },
    { logger },
  );
  const orders = app.get<Orders>(getGrpcServiceToken('orders', 'Orders'), { strict: false });
  await calls?.(orders);
  const lost = firstValueFrom(orders.create({ requestId: '1', item: 'tea' })).catch((error: unknown) => error);
  await waitFor(() => server.counts('Create').calls === 1);
  proxy.resetAll();
  expect(isGrpcCallError(await lost, 'UNAVAILABLE')).toBe(true);
  await app.close();
  await proxy.close();
  vi.restoreAllMocks();
  return chunks
    .join('')
    .split('\n')
    .filter((line) => /ResilientGrpc[:\]"]/.test(line));
}

/** Fields of the log lines for the start, the lost call, and the drain. */
const FIELDS = {
  start: { client: 'orders', event: 'start-up', services: 'orders.v1.Orders', outageGraceMs: expect.any(Number) },
  lost: {
    client: 'orders',
    event: 'attempt-end',
    path: '/orders.v1.Orders/Create',
    code: 'UNAVAILABLE',
    peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
    reachedServer: 'maybe',
    reason: 'not-safe-to-repeat',
    attempt: 1,
  },
  drained: { event: 'drain', clients: 1, cancelled: 0 },
};
const LOST =
  /^\/orders\.v1\.Orders\/Create at \S+: UNAVAILABLE: .*; the call may have reached the server and was not retried/;

type Json = Readonly<Record<string, unknown>>;
const fieldsOf = (lines: readonly Json[], event: string, phase?: string) =>
  lines.find((line) => line['event'] === event && line['phase'] === phase);

describe('client log lines', () => {
  it('prints one text line per event with ConsoleLogger', async () => {
    const lines = await captureLines(new ConsoleLogger({ colors: false }));
    for (const line of lines)
      expect(line).toMatch(/^\[Nest\] \d+ .* (LOG|WARN|DEBUG) \[ResilientGrpc[:\w]*\] \S.*\w\)?$/);
    expect(lines.join('\n')).not.toMatch(/\[object|Object\(|LogLine|msg:/);
    const lost = lines.filter((line) => line.includes(' WARN '));
    expect(lost).toHaveLength(1);
    expect(lost[0]!.split('[ResilientGrpc:orders] ')[1]).toMatch(LOST);
    expect(lines[0]).toContain(' LOG [ResilientGrpc:orders] 127.0.0.1:');
  });

  it('colors a warning yellow with ConsoleLogger', async () => {
    const logger = new ConsoleLogger({ colors: true });
    const lines = await captureLines(logger);
    const warned = lines.find((line) => line.includes('WARN'));
    expect(warned?.split('[ResilientGrpc:orders] ')[1]).toMatch(/^(\u001b\[39m)?\u001b\[33m\/orders.*\u001b\[39m$/);
  });

  it('logs objects with fields if ConsoleLogger writes JSON', async () => {
    const lines = (await captureLines(new ConsoleLogger({ json: true }))).map((line) => JSON.parse(line) as Json);
    const messages = lines.map(({ message }) => message as Json);
    expect(fieldsOf(messages, 'start-up')).toMatchObject(FIELDS.start);
    expect(fieldsOf(messages, 'attempt-end')).toMatchObject({ ...FIELDS.lost, msg: expect.stringMatching(LOST) });
    expect(fieldsOf(messages, 'drain')).toMatchObject(FIELDS.drained);
    const lost = lines.find(({ message }) => (message as Json)['event'] === 'attempt-end');
    expect(lost).toMatchObject({ level: 'warn', context: 'ResilientGrpc:orders' });
  });

  it('writes pino lines with fields through nestjs-pino', async () => {
    const out: string[] = [];
    const params = { pinoHttp: [{ level: 'debug' }, { write: (line: string) => out.push(line) }] };
    // The cast is safe because the nestjs-pino module creates its logger from the same parameters.
    const logger = new NestjsPinoLogger(new PinoLogger(params as never), params as never);
    const lines = (await captureLines(logger).then(() => out)).map((line) => JSON.parse(line) as Json);
    const libraryLines = lines.filter(({ context }) => String(context).startsWith('ResilientGrpc'));
    expect(fieldsOf(libraryLines, 'start-up')).toMatchObject({ ...FIELDS.start, level: 30 });
    expect(fieldsOf(libraryLines, 'attempt-end')).toMatchObject({
      ...FIELDS.lost,
      level: 40,
      context: 'ResilientGrpc:orders',
      msg: expect.stringMatching(LOST),
    });
    expect(fieldsOf(libraryLines, 'drain')).toMatchObject(FIELDS.drained);
    for (const line of libraryLines) expect(line).toMatchObject({ msg: expect.any(String), event: expect.any(String) });
  });

  it('writes log lines through a custom logger that expects strings', async () => {
    const lines: string[] = [];
    const logger: LoggerService = {
      log: (message: string, context: string) => lines.push(`${context} ${message}`),
      warn: (message: string, context: string) => lines.push(`${context} ${message.replace(/\s+/g, ' ').trim()}`),
      error: () => undefined,
    };
    await captureLines(logger);
    expect(lines).toContainEqual(expect.stringMatching(/^ResilientGrpc:orders \/orders\.v1\.Orders\/Create at/));
  });

  it('makes calls and emits a process warning if the logger throws', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const logger: LoggerService = {
      log: () => undefined,
      // This logger expects a property that the library's log objects do not have.
      warn: (message: { readonly text: string }) => message.text.trim(),
      error: () => undefined,
      debug: (message: { readonly text: string }) => message.text.trim(),
    };
    await captureLines(logger);
    expect(warned.mock.calls.flat().map(String)).toContainEqual(
      expect.stringMatching(/^The application's logger threw TypeError/),
    );
  });

  it('logs no metadata value, no trailer value, no token in an error, and no line break in a status message', async () => {
    const secret = 'hush-hush';
    server.script('Get', {
      status: 'UNAVAILABLE',
      details: `no\nFAKE \u001b[31m, authorization: Bearer ${secret}`,
      trailers: { 'x-secret': secret, 'grpc-status-details-bin': Buffer.from(secret) },
    });
    const interceptor: GrpcClientInterceptor = {
      onAttempt: ({ number }) => {
        const error = new Error(`the vault refused Bearer ${secret}`);
        if (number === 2) throw Object.assign(error, { code: 14 });
      },
    };
    const lines = await captureLines(new ConsoleLogger({ colors: false }), {
      interceptors: [interceptor],
      metadata: () => ({ authorization: `Bearer ${secret}`, 'x-api-key': secret }),
      calls: async (orders) => {
        for (const metadata of [{ cookie: secret }, { 'x-note': `${secret}\u0001` }]) {
          await firstValueFrom(orders.get({ id: '1' }, { metadata })).catch((error: unknown) => error);
        }
      },
    });
    expect(lines.join('\n')).not.toContain('hush');
    expect(lines.join('\n')).toContain('DEBUG [ResilientGrpc:orders] /orders.v1.Orders/Get at 127.0.0.1:');
    expect(lines.filter((line) => /FAKE/.test(line)).length).toBeGreaterThan(0);
    for (const line of lines) expect(line).toMatch(/^\[Nest\] /);
  });

  // This test must be last, because Nest cannot reset its list of log levels.
  it("writes no debug line to a custom logger if Nest's debug level is disabled", async () => {
    const lines: string[] = [];
    const debug = (message: unknown) => lines.push(String(message));
    const logger: LoggerService = { log: () => undefined, warn: () => undefined, error: () => undefined, debug };
    await captureLines(logger);
    const all = lines.length;
    expect(all).toBeGreaterThan(0);
    // Sets only the level list, because Nest keeps it separately from the custom logger.
    Logger.overrideLogger(['log']);
    await captureLines(logger);
    expect(lines).toHaveLength(all);
  });
});
