import 'reflect-metadata';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NestFactory } from '@nestjs/core';
import { connectivityState, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { GrpcConfigurationError } from 'nestjs-resilient-grpc';
import { isGrpcConfigurationError } from 'nestjs-resilient-grpc';
import { ResilientGrpcServerModule, type ResilientGrpcServerOptions } from 'nestjs-resilient-grpc/server';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { ORDERS_PROTO } from '../nest/places.js';
import { ordersModule, ordersOf, ordersOptions, ownUrl, serveOrders, started } from './served-orders.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

async function failureOf(start: Promise<unknown>): Promise<GrpcConfigurationError> {
  const failure: unknown = await start.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!isGrpcConfigurationError(failure)) throw new Error(`expected a GrpcConfigurationError, got ${String(failure)}`);
  return failure;
}

const FOLDER = mkdtempSync(join(tmpdir(), 'protos-'));
writeFileSync(join(FOLDER, 'broken.proto'), 'syntax = "proto3";\nmessage {');
afterAll(() => {
  rmSync(FOLDER, { recursive: true });
});

const WRONG = { onDrain: 'never', maxConnectionAgeMs: 5, colour: 'red' } as never;

describe('start with invalid options', () => {
  it.each([
    ['forRoot', () => ResilientGrpcServerModule.forRoot(ordersOptions(ownUrl(), WRONG))],
    [
      'forRootAsync',
      () => ResilientGrpcServerModule.forRootAsync({ useFactory: async () => ordersOptions(ownUrl(), WRONG) }),
    ],
  ])('fails the start of an application and lists all invalid server options (%s)', async (where, server) => {
    const app = NestFactory.create(ordersModule(server()), { logger: false, abortOnError: false });
    const { message, problems } = await failureOf(app);
    expect(problems.map(({ path }) => path.split('.').at(-1))).toEqual(['colour', 'onDrain', 'maxConnectionAgeMs']);
    expect(message).toContain(`3 problems in the gRPC configuration:\n  - ResilientGrpcServerModule.${where}.`);
  });

  it('fails the start with a suggestion if a method pattern matches no method', async () => {
    const { app } = await serveOrders({ methods: { 'Orders/Wach': { onDrain: 'complete' }, Get: {} } });
    const { message } = await failureOf(app.startAllMicroservices());
    expect(message).toMatch(
      /methods\["Orders\/Wach"\]: expected a pattern that matches a method.*did you mean 'Orders\/Watch'\?/,
    );
  });
});

describe('start without usable protos or address', () => {
  it.each<[string, Partial<ResilientGrpcServerOptions>, RegExp]>([
    [
      'a misspelled package',
      { package: 'order.v1' },
      /\.package: expected .* got 'order\.v1'; did you mean 'orders\.v1'\?$/,
    ],
    [
      'an unknown package in a list',
      { package: ['orders.v1', 'billing'] },
      /\.package\[1\]: expected .* got 'billing'; known packages: 'orders\.v1'$/,
    ],
    [
      'a missing file',
      { protoPath: 'nope.proto' },
      /\.protoPath: expected an existing file, got "nope\.proto" \(resolved to .*nest-cli\.json$/,
    ],
    [
      'a file with a syntax error',
      { protoPath: join(FOLDER, 'broken.proto') },
      /\.protoPath: expected a valid \.proto file, got "illegal .*broken\.proto, line 2\)"; correct the file at that line$/,
    ],
    [
      'a package definition that grpc-js has already loaded',
      { protoPath: undefined as never, packageDefinition: loadPackageDefinition(loadSync(ORDERS_PROTO)) as never },
      /\.packageDefinition: expected the result of proto-loader's loadSync\(\)/,
    ],
    [
      'an address of another host',
      { url: '192.0.2.1:50051' },
      /\.url: expected an address of this host, got '192\.0\.2\.1:50051' \(listen EADDRNOTAVAIL.*; write '0\.0\.0\.0:50051'$/,
    ],
    [
      'a Unix socket in a missing folder',
      { url: 'unix:/missing/grpc.sock' },
      /\.url: expected a path that can be created, got 'unix:\/missing\/grpc\.sock' \(.*; write a path in an existing folder/,
    ],
    [
      'a host name that does not resolve',
      { url: 'no.such.host.invalid:50051' },
      /\.url: expected an address of this host with a port, got 'no\.such\.host\.invalid:50051' \(Name resolution failed/,
    ],
  ])('fails with one line that names the option and the remedy for %s', async (_what, options, message) => {
    const { app, log } = await serveOrders(options);
    const failure = await failureOf(app.startAllMicroservices());
    expect(failure.message).toMatch(message);
    expect(failure.message).toMatch(/^ResilientGrpcServerModule\.forRoot\.[^\n]*$/);
    expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('names the address and the remedy if another process listens on it', async () => {
    const { url } = await started(await serveOrders());
    const { app } = await serveOrders({ url });
    expect((await failureOf(app.startAllMicroservices())).message).toMatch(
      /\.url: expected a free address, got 'unix:[^']*' \(listen EADDRINUSE: .*\); stop the process that listens there/,
    );
  });
});

describe('channelOptions', () => {
  it('sends GOAWAY on a connection older than grpc.max_connection_age_ms while its calls continue', async () => {
    const { url } = await started(await serveOrders({ channelOptions: { 'grpc.max_connection_age_ms': 150 } }));
    const orders = ordersOf(url);
    const { call, seen } = orders.open('watch', { from: '0' });
    await waitFor(() => seen.length === 1);
    await waitFor(() => orders.client.getChannel().getConnectivityState(false) === connectivityState.IDLE);
    expect(await orders.ask('get', { id: '7' })).toMatchObject({ id: '7' });
    expect(seen).toHaveLength(1);
    call.cancel();
  });

  it('announces grpc.max_concurrent_streams to clients', async () => {
    const { url } = await started(await serveOrders({ channelOptions: { 'grpc.max_concurrent_streams': 7 } }));
    const socket = connectSocket(url.slice('unix:'.length));
    const session = connect('http://orders', { createConnection: () => socket });
    const settings = await new Promise<{ maxConcurrentStreams?: number }>((resolve) => {
      session.once('remoteSettings', resolve);
    });
    session.destroy();
    expect(settings.maxConcurrentStreams).toBe(7);
  });

  it('does not change the given server options, so that two servers can share them', async () => {
    const channelOptions = Object.freeze({ 'grpc.keepalive_time_ms': 5_000 });
    const shared = Object.freeze({ channelOptions, maxReceiveMessageLength: 1_024 });
    await started(await serveOrders(shared));
    await started(await serveOrders(shared));
    expect(channelOptions).toEqual({ 'grpc.keepalive_time_ms': 5_000 });
  });

  it('logs a warning about a keepalive option that grpc-js servers ignore', async () => {
    const { log } = await serveOrders({ keepalive: { http2MaxPingStrikes: 0 } });
    const warnings = log.lines.filter(({ level }) => level === 'warn').map(({ text }) => text);
    expect(warnings).toEqual([
      expect.stringMatching(/^options ignored by grpc-js servers.*keepalive\.http2MaxPingStrikes/),
    ]);
  });
});
