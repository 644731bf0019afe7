import 'reflect-metadata';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { ARCHIVE_PROTO, ORDERS_PROTO } from '../nest/places.js';
import { healthOf, ordersOf, reflectionOf, serveOrders, startServers } from './served-orders.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

describe('reflection', () => {
  it('lists the services of a server by reflection and returns their descriptors', async () => {
    const { url } = await startServers(await serveOrders({ reflection: true }));
    const { call, seen } = reflectionOf(url).open('serverReflectionInfo');
    call.write({ listServices: '*' });
    call.write({ fileContainingSymbol: 'orders.v1.Orders.Watch' });
    await waitFor(() => seen.length === 2);
    call.end();
    const names = seen[0].listServicesResponse.service.map(({ name }: { name: string }) => name);
    expect(names.sort()).toEqual(['grpc.health.v1.Health', 'orders.v1.Orders']);
    const files: Buffer[] = seen[1].fileDescriptorResponse.fileDescriptorProto;
    expect(files.some((file) => file.includes('WatchRequest'))).toBe(true);
    expect(await ordersOf(url).unary('get', { id: '7' })).toMatchObject({ id: '7' });
  });

  it('does not delay the shutdown for an open reflection stream', async () => {
    const { app, url } = await startServers(await serveOrders({ reflection: true, drain: { timeoutMs: 60_000 } }));
    const { call, seen } = reflectionOf(url).open('serverReflectionInfo');
    call.write({ listServices: '*' });
    await waitFor(() => seen.length === 1);
    let closed = false;
    void app.close().then(() => (closed = true));
    await waitFor(() => closed && seen.length === 2, { timeoutMs: 20_000 });
    expect(seen[1]).toBe('14 The server is shutting down');
  });

  it('does not list the services of a package by reflection if the package is loaded but not served', async () => {
    const { url } = await startServers(
      await serveOrders({ reflection: true, protoPath: [ORDERS_PROTO, ARCHIVE_PROTO] }),
    );
    const { call, seen } = reflectionOf(url).open('serverReflectionInfo');
    call.write({ listServices: '*' });
    await waitFor(() => seen.length === 1);
    call.end();
    expect(seen[0].listServicesResponse.service.map(({ name }: { name: string }) => name).sort()).toEqual([
      'grpc.health.v1.Health',
      'orders.v1.Orders',
    ]);
    const { unary } = healthOf(url);
    expect(await unary('check', { service: 'orders.v1.Orders' })).toEqual({ status: 'SERVING' });
    expect(await unary('check', { service: 'archive.v1.Orders' })).toMatch(/^5 /);
  });

  it('does not serve reflection by default', async () => {
    const { url } = await startServers(await serveOrders());
    const { call, seen } = reflectionOf(url).open('serverReflectionInfo');
    call.write({ listServices: '*' });
    await waitFor(() => seen.length === 1);
    expect(seen[0]).toMatch(/^12 /);
  });
});
