import { join } from 'node:path';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Transport } from '@nestjs/microservices';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startOrdersApp } from '../support/orders-app.js';
import { OrdersProcess } from '../support/orders-process.js';
import { callOnce, EACH_METHOD, failureOf, scene, startClient, startServer } from './support.js';

const WAY_BACK = { transport: 'grpc-js' } as const;

describe('client on the transport of grpc-js', () => {
  it('makes calls of each kind, and says in its snapshot which transport it uses', async () => {
    const { client, echo } = await scene(WAY_BACK);
    for (const method of EACH_METHOD) await lastValueFrom(callOnce(echo, method).pipe(toArray()));
    expect(client.snapshot()).toMatchObject({
      transport: 'grpc-js',
      connections: [],
    });
  });

  it.each([
    ['grpc-js', 'grpc-js'],
    ['socket', 'socket'],
  ])('follows NESTJS_RESILIENT_GRPC_TRANSPORT=%s for the whole process', async (value, transport) => {
    vi.stubEnv('NESTJS_RESILIENT_GRPC_TRANSPORT', value);
    onTestFinished(() => void vi.unstubAllEnvs());
    const { client, echo } = await scene();
    await firstValueFrom(echo.unary({}));
    expect(client.snapshot().transport).toBe(transport);
  });

  it('says in its start-up line what is off, and uses the transport of the module’s defaults', async () => {
    const server = await startServer();
    const lines: string[] = [];
    const write = (line: unknown): void => void lines.push(String(line));
    const options = { package: 'orders.v1', protoPath: join(import.meta.dirname, '../../protos/orders.proto') };
    class App {}
    Module({
      imports: [
        ResilientGrpcModule.forRoot({ defaults: WAY_BACK }),
        ResilientGrpcModule.forFeature([
          { name: 'nested', transport: Transport.GRPC, options: { url: server.url, ...options } },
          { name: 'own', url: server.url, transport: 'socket', ...options },
        ]),
      ],
    })(App);
    const logger = { log: write, error: write, warn: write, debug: write, verbose: write };
    const app = await NestFactory.createApplicationContext(App, { logger, abortOnError: false });
    onTestFinished(() => app.close());
    const [nested, own] = lines.filter((line) => line.includes('safe to repeat'));
    expect(nested).toContain('(transport: grpc-js, so ');
    expect(own).not.toContain('transport');
  });

  it('ends a call at its deadline, and does not know whether it reached the server', async () => {
    const { echo, server } = await scene(WAY_BACK);
    server.script('Unary', { never: true });
    const error = await failureOf(echo.unary({}, { timeoutMs: 300 }));
    expect(error).toMatchObject({ code: 4, reason: 'deadline', reachedServer: 'maybe' });
  });

  it('retries a safe call whose stream the server reset, and never resends another call', async () => {
    const { echo, server } = await scene(WAY_BACK);
    await firstValueFrom(echo.unary({}));
    server.script('Unary', [{ status: 'UNAVAILABLE' }, { message: { text: 'again' } }]);
    expect(await firstValueFrom(echo.unary({}))).toMatchObject({ text: 'again' });
    server.script('UnsafeUnary', [{ status: 'UNAVAILABLE' }, { message: {} }]);
    const error = await failureOf(echo.unsafeUnary({}));
    expect(error).toMatchObject({ code: 14, notRetriedBecause: 'not-safe-to-repeat' });
    expect(server.calls('UnsafeUnary')).toHaveLength(1);
  });

  it('finishes running calls in a drain, and lets the process end', async () => {
    const { client, echo, server } = await scene(WAY_BACK);
    server.script('Unary', { message: { text: 'late' }, delayMs: 200 });
    const late = firstValueFrom(echo.unary({}));
    await waitFor(() => server.counts().open === 1);
    const report = await client.drain();
    expect(await late).toMatchObject({ text: 'late' });
    expect(report).toMatchObject({ finished: 1, failed: 0, cancelled: 0 });
  });

  it('holds calls through a restart of the server', async () => {
    const server = await OrdersProcess.start({});
    onTestFinished(() => server.close());
    const app = await startOrdersApp({ url: server.url, ...WAY_BACK });
    onTestFinished(() => app.close());
    await firstValueFrom(app.orders.get({ id: '1' }));
    const restarted = server.restartAfter(500, 'terminate');
    await waitFor(() => app.client.connectivity.state !== 'READY', { timeoutMs: 20_000 });
    const calls = Array.from({ length: 10 }, (_, id) => firstValueFrom(app.orders.get({ id: String(id) })));
    await restarted;
    expect(await Promise.all(calls)).toHaveLength(10);
  });
});

it('rejects an unknown transport', async () => {
  await expect(startClient({ url: '127.0.0.1:1', transport: 'http2' as never })).rejects.toThrow(
    'clients.echo.transport: expected ("socket" | "grpc-js"), got "http2"',
  );
});
