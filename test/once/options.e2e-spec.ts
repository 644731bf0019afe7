import { status } from '@grpc/grpc-js';
import { GrpcConfigurationError } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { failureOf, rejection } from '../calls/support.js';
import { serveWrites, writerTo } from './support.js';

const TEA = { requestId: 'r-1', item: 'tea', quantity: 1 };

describe('keys', () => {
  it('come from the request, from the call, or from chance', async () => {
    const writes = await serveWrites();
    const keys: (string | undefined)[] = [];
    writes.handler = (_request, key) => {
      keys.push(key);
      return {};
    };
    const ofRequest = await writerTo(writes.url, { once: ({ requestId }: { requestId: string }) => requestId });
    await firstValueFrom(ofRequest.orders.create(TEA));
    await firstValueFrom(ofRequest.orders.create(TEA));
    await firstValueFrom(ofRequest.orders.create(TEA, { onceKey: 'own' }));
    expect(keys).toEqual(['r-1', 'own']);
  });

  it.each([
    ['with a space', 'a b'],
    ['that is empty', ''],
    ['of 256 characters', 'x'.repeat(256)],
    ['that is no text', 7],
  ])('%s are refused at the caller', async (_what, key) => {
    const writes = await serveWrites();
    const { orders } = await writerTo(writes.url, { once: () => key as string });
    const error = await failureOf(orders.create(TEA));
    expect(error).toMatchObject({ reason: 'not-sent', reachedServer: 'no' });
    expect(error.details).toContain('from ! to ~');
    expect(writes.guarded).toBe(0);
  });

  it('of the metadata must be those of the call, and are sent as before without the option', async () => {
    const writes = await serveWrites();
    const { orders } = await writerTo(writes.url);
    const error = await failureOf(orders.create(TEA, { metadata: { 'idempotency-key': 'mine' } }));
    expect(error.details).toContain('onceKey');
    await firstValueFrom(orders.create(TEA, { onceKey: 'mine', metadata: { 'idempotency-key': 'mine' } }));
    let seen: unknown;
    writes.guard = (metadata) => {
      seen = metadata.get('idempotency-key');
    };
    const plain = await writerTo(writes.url, {});
    await firstValueFrom(plain.orders.create(TEA, { metadata: { 'idempotency-key': 'mine' } }));
    expect(seen).toEqual(['mine']);
    expect(writes.done).toEqual(['tea', 'tea']);
    const unused = await failureOf(plain.orders.create(TEA, { onceKey: 'mine' }));
    expect(unused.details).toContain('once: true');
  });

  it('do not make a method safe to repeat by its retry policy', async () => {
    const { client } = await writerTo('127.0.0.1:1', { once: true, retry: { maxAttempts: 5 } });
    expect(client.snapshot().methods).toEqual([]);
  });

  it('never reach the metadata of the caller', async () => {
    const { Metadata } = await import('@grpc/grpc-js');
    const writes = await serveWrites();
    const { orders } = await writerTo(writes.url);
    const metadata = new Metadata();
    await firstValueFrom(orders.create(TEA, metadata));
    expect(metadata.getMap()).toEqual({});
  });
});

describe('outcome()', () => {
  it('tells what became of a write', async () => {
    const writes = await serveWrites();
    const { client, orders } = await writerTo(writes.url);
    expect(await client.outcome('Create', 'a')).toEqual({ state: 'unknown', final: false });
    await firstValueFrom(orders.create(TEA, { onceKey: 'a' }));
    expect(await client.outcome('Create', 'a')).toMatchObject({
      state: 'done',
      response: { item: 'tea', sequence: '1' },
    });
    writes.handler = () => {
      throw new Error('bug');
    };
    await failureOf(orders.create(TEA, { onceKey: 'b' }));
    expect(await client.outcome('Orders/Create', 'b')).toMatchObject({
      state: 'failed',
      error: { code: status.UNKNOWN },
    });
    expect(writes.done).toEqual(['tea']);
  });

  it('closes a key, so that its write never runs', async () => {
    const writes = await serveWrites();
    const { client, orders } = await writerTo(writes.url);
    expect(await client.outcome('Create', 'a', { close: true })).toEqual({ state: 'unknown', final: false });
    const error = await failureOf(orders.create(TEA, { onceKey: 'a' }));
    expect(error).toMatchObject({ code: status.FAILED_PRECONDITION, reachedServer: 'no', onceKey: 'a' });
    const ofError = { close: true, scope: error.onceScope };
    expect(await client.outcome('Create', 'a', ofError)).toEqual({ state: 'unknown', final: true });
    // Another store, or this one before it lost data.
    expect(await client.outcome('Create', 'b', { ...ofError, scope: 'other' })).toEqual({ state: 'in-doubt' });
    await expect(client.outcome('Create', '')).rejects.toThrow('from ! to ~');
    expect(writes.done).toEqual([]);
  });

  it('is guarded like the method, and names a method that does not exist', async () => {
    const writes = await serveWrites();
    const { client } = await writerTo(writes.url);
    writes.guard = (metadata) => {
      if (metadata.get('authorization').length === 0) throw new Error('no');
    };
    expect(await rejection(client.outcome('Create', 'a'))).toMatchObject({ code: status.UNKNOWN });
    expect(await client.outcome('Create', 'a', { metadata: { authorization: 'me' } })).toMatchObject({
      state: 'unknown',
    });
    expect(() => client.outcome('Crate', 'a')).toThrow(GrpcConfigurationError);
    expect(() => client.outcome('Watch', 'a')).toThrow('a unary method');
  });
});

describe('the options of a server', () => {
  it.each([
    [{ ttlMs: 1_000 }, 'once.ttlMs'],
    [{ store: {} }, 'once.store'],
    [{ maxRunMs: 0 }, 'once.maxRunMs'],
    [{ scope: 'x' }, 'once.scope'],
  ])('%j are refused', async (once, path) => {
    const error = await rejection(serveWrites(once as never));
    expect(String(error)).toContain(path);
  });

  it('are required by a handler', async () => {
    const error = await rejection(serveWrites(undefined, { once: undefined }));
    expect(String(error)).toContain('required by the @Once() handler of /orders.v1.Orders/Create');
  });
});
