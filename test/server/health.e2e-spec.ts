import 'reflect-metadata';
import type { Server, ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { GrpcServerHealth, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, describe, expect, it } from 'vitest';
import {
  HEALTH_PROTO,
  healthOf,
  ordersModule,
  ordersOf,
  ordersOptions,
  ownUrl,
  serveOrders,
  startMicroservice,
  startServers,
  warningsOf,
} from './served-orders.js';
import { holdTimers } from './support/held-timers.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const ORDERS = 'orders.v1.Orders';
const SERVING = { status: 'SERVING' };
const NOT_SERVING = { status: 'NOT_SERVING' };

describe('health of an application', () => {
  it('reports NOT_SERVING after startAllMicroservices() until the application has started', async () => {
    const { app, url } = await serveOrders();
    const { unary } = healthOf(url);
    await app.startAllMicroservices();
    expect(await unary('check', { service: '' })).toEqual(NOT_SERVING);
    expect(await unary('check', { service: ORDERS })).toEqual(NOT_SERVING);
    await app.listen(0, '127.0.0.1');
    expect(await unary('check', { service: '' })).toEqual(SERVING);
    expect(await unary('check', { service: ORDERS })).toEqual(SERVING);
  });

  it('reports SERVING in the first response if the application started before the port opened', async () => {
    const { app, url } = await serveOrders();
    await app.listen(0, '127.0.0.1');
    await app.startAllMicroservices();
    expect(await healthOf(url).unary('check', { service: ORDERS })).toEqual(SERVING);
  });

  it('reports SERVING in a microservice without HTTP', async () => {
    const url = ownUrl();
    await startMicroservice(ordersModule(ResilientGrpcServerModule.forRoot(ordersOptions(url))));
    expect(await healthOf(url).unary('check', { service: '' })).toEqual(SERVING);
    expect(await ordersOf(url).unary('get', { id: '7' })).toMatchObject({ id: '7' });
  });

  it('sets the health of a service through the injected GrpcServerHealth', async () => {
    const { app, url, server } = await startServers(await serveOrders());
    const health = app.get(GrpcServerHealth);
    expect(health).toBe(server.health);
    const { unary } = healthOf(url);
    health.setNotServing(ORDERS);
    expect(await unary('check', { service: ORDERS })).toEqual(NOT_SERVING);
    expect(await unary('check', { service: '' })).toEqual(SERVING);
    // The service still accepts calls.
    expect(await ordersOf(url).unary('get', { id: '7' })).toMatchObject({ id: '7' });
  });

  it('reports NOT_SERVING during the readiness delay while calls continue, and ends a health Watch after the delay', async () => {
    const { app, url } = await startServers(
      await serveOrders({ drain: { timeoutMs: 60_000, readinessDelayMs: 5_000 } }),
    );
    const { unary, open } = healthOf(url);
    const orders = ordersOf(url);
    await orders.unary('get', { id: '7' });
    const { seen } = open('watch', { service: ORDERS });
    await waitFor(() => seen.length === 1);
    const { advance, until } = holdTimers();
    let closed = false;
    void app.close().then(() => (closed = true));
    await until(() => seen.length === 2);
    await advance(4_999);
    expect(seen).toEqual([SERVING, NOT_SERVING]);
    expect(await orders.unary('get', { id: '8' })).toMatchObject({ id: '8' });
    expect(await unary('check', { service: '' })).toEqual(NOT_SERVING);
    expect(closed).toBe(false);
    await advance(1);
    await until(() => closed && seen.length === 3);
    expect(seen[2]).toMatch(/^14 /);
  });

  it("keeps the application's own health service, and logs a warning", async () => {
    const own = loadSync(HEALTH_PROTO, { enums: String })['grpc.health.v1.Health'] as ServiceDefinition;
    const onLoadPackageDefinition = (_definition: unknown, server: Server) => {
      server.addService(own, { check: (_call: unknown, answer: any) => answer(null, NOT_SERVING) });
    };
    const { url, log } = await startServers(await serveOrders({ onLoadPackageDefinition }));
    expect(await healthOf(url).unary('check', { service: '' })).toEqual(NOT_SERVING);
    expect(warningsOf(log)).toEqual([
      expect.stringMatching(/the application serves grpc\.health\.v1\.Health itself.*health: false/),
    ]);
  });

  it('serves no health service if health is disabled', async () => {
    const { url } = await startServers(await serveOrders({ health: false }));
    expect(await healthOf(url).unary('check', { service: '' })).toMatch(/^12 /);
  });
});
