import { Client, credentials, Metadata, status, type ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { GrpcException, MemoryOnceStore } from 'nestjs-resilient-grpc/server';
import { ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { failureOf } from '../calls/support.js';
import { ORDERS_PROTO } from '../support/orders-app.js';
import { proxyTo, serveWrites, writerTo, type Writes } from './support.js';

const TEA = { requestId: '', item: 'tea', quantity: 1 };
// The cast is safe because this name is a service in the .proto file.
const ORDERS = loadSync(ORDERS_PROTO, { longs: String })['orders.v1.Orders'] as ServiceDefinition;

/** Makes a call as a client of another kind: by a path, with metadata. */
function raw(url: string, path: string, metadata: Record<string, string>): Promise<{ item?: string; mark?: string }> {
  const client = new Client(url, credentials.createInsecure());
  onTestFinished(() => {
    client.close();
  });
  const { requestSerialize, responseDeserialize } = ORDERS['Create']!;
  const sent = new Metadata();
  for (const [key, value] of Object.entries(metadata)) sent.set(key, value);
  return new Promise((resolve, reject) => {
    let response: { item?: string } | undefined;
    const call = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, TEA, sent, {}, (error, value) => {
      response = value;
      if (error !== null) reject(Object.assign(error, { mark: error.metadata.get('once')[0] }));
    });
    call.on('status', ({ code, metadata: trailers }) => {
      if (code === 0) setImmediate(() => resolve({ ...response, mark: String(trailers.get('once')[0]) }));
    });
  });
}

/** Loses the connection of a write while its handler runs; returns the function that lets the handler go on. */
async function lostInHandler(
  writes: Writes,
  cut: () => void,
): Promise<{ finish(): void; readonly cutOff: Promise<void> }> {
  let finish!: () => void;
  const goesOn = new Promise<void>((resolve) => (finish = resolve));
  const { handler } = writes;
  writes.handler = async (request, ...rest) => {
    writes.handler = handler;
    const result = handler(request, ...rest);
    await goesOn;
    return result;
  };
  const before = writes.done.length;
  const cutOff = waitFor(() => writes.done.length > before).then(cut);
  return { finish, cutOff };
}

describe('servers without the feature', () => {
  it('are called by their own path, and only asked once', async () => {
    const server = await closedAfterTest(ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO }));
    server.script('Create', { message: { item: 'tea' } });
    const { orders } = await writerTo(server.url);
    for (let call = 0; call < 3; call += 1)
      expect(await firstValueFrom(orders.create(TEA))).toMatchObject({ item: 'tea' });
    expect(server.counts('Create').calls).toBe(3);
    expect(server.counts().calls).toBe(3);
  });

  it('get no call again that may have reached them', async () => {
    const server = await closedAfterTest(ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO }));
    server.script('Create', { never: true });
    const proxy = await proxyTo(server.url);
    const { orders } = await writerTo(proxy.url);
    const failed = failureOf(orders.create(TEA));
    await waitFor(() => server.counts('Create').calls === 1);
    proxy.resetAll();
    expect(await failed).toMatchObject({ reachedServer: 'maybe', notRetriedBecause: 'not-safe-to-repeat' });
    expect(server.counts('Create').calls).toBe(1);
  });

  it('may be replaced during a call, which never runs twice', async () => {
    const first = await serveWrites();
    const proxy = await proxyTo(first.url);
    const { orders } = await writerTo(proxy.url);
    await firstValueFrom(orders.create(TEA));
    const old = await closedAfterTest(ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO }));
    const lost = await lostInHandler(first, () => {
      proxy.retarget(old.url);
      proxy.resetAll();
    });
    const failed = failureOf(orders.create(TEA));
    await lost.cutOff;
    expect(await failed).toMatchObject({ code: status.UNAVAILABLE, reachedServer: 'maybe' });
    lost.finish();
    expect(old.counts('Create').calls).toBe(0);
  });
});

describe('the store of another server', () => {
  it('is taken if nothing can have run', async () => {
    const [first, second] = [await serveWrites(), await serveWrites()];
    const proxy = await proxyTo(first.url);
    const { client, orders } = await writerTo(proxy.url);
    await firstValueFrom(orders.create(TEA));
    proxy.retarget(second.url);
    proxy.resetAll();
    await waitFor(() => client.connectivity.state !== 'READY');
    expect(await firstValueFrom(orders.create(TEA))).toMatchObject({ item: 'tea' });
    expect([first.done, second.done]).toEqual([['tea'], ['tea']]);
  });

  it('leaves in doubt what may have run', async () => {
    const [first, second] = [await serveWrites(), await serveWrites()];
    const proxy = await proxyTo(first.url);
    const { client, orders } = await writerTo(proxy.url);
    await firstValueFrom(orders.create(TEA));
    const lost = await lostInHandler(first, () => {
      proxy.retarget(second.url);
      proxy.resetAll();
    });
    const failed = failureOf(orders.create({ ...TEA, item: 'lost' }));
    await lost.cutOff;
    const error = await failed;
    expect(error).toMatchObject({ code: status.UNKNOWN, reason: 'in-doubt', notRetriedBecause: 'in-doubt' });
    expect(second.done).toEqual([]);
    lost.finish();
    proxy.retarget(first.url);
    proxy.resetAll();
    await waitFor(async () => (await client.outcome('Create', String(error.onceKey))).state === 'done');
    expect(first.done).toEqual(['tea', 'lost']);
  });

  it('is shared by servers, of which each knows what the others run', async () => {
    const store = new MemoryOnceStore();
    const [first, second] = [await serveWrites({ store }), await serveWrites({ store })];
    const proxy = await proxyTo(first.url);
    const { orders } = await writerTo(proxy.url);
    await firstValueFrom(orders.create(TEA));
    const lost = await lostInHandler(first, () => {
      proxy.retarget(second.url);
      proxy.resetAll();
    });
    const answer = firstValueFrom(orders.create({ ...TEA, item: 'lost' }));
    await lost.cutOff;
    // The second server says that the first one runs it.
    await waitFor(() => second.guarded >= 2);
    lost.finish();
    expect(await answer).toMatchObject({ item: 'lost', sequence: '2' });
    expect([first.done, second.done]).toEqual([['tea', 'lost'], []]);
  });

  it('refuses writes before they run when it is full', async () => {
    const writes = await serveWrites({ store: new MemoryOnceStore({ maxKeys: 1 }) });
    const { orders } = await writerTo(writes.url);
    await firstValueFrom(orders.create(TEA));
    expect(await failureOf(orders.create(TEA))).toMatchObject({ code: status.RESOURCE_EXHAUSTED, reachedServer: 'no' });
    expect(writes.done).toEqual(['tea']);
  });
});

describe.each(['socket', 'grpc-js'] as const)('a server on %s', (transport) => {
  it('runs a write of any client once for a key on the path for keys, after its guards', async () => {
    const writes = await serveWrites({}, { transport });
    const path = '/orders.v1.Orders/Create.once';
    const key = { 'idempotency-key': 'order-1' };
    expect(await raw(writes.url, path, key)).toMatchObject({ item: 'tea', mark: 'undefined' });
    expect(await raw(writes.url, path, key)).toMatchObject({ item: 'tea', mark: 'replayed' });
    expect([writes.done, writes.guarded]).toEqual([['tea'], 2]);
    writes.guard = () => {
      throw new GrpcException('PERMISSION_DENIED', 'not yours');
    };
    await expect(raw(writes.url, path, key)).rejects.toMatchObject({ code: status.PERMISSION_DENIED, mark: 'guarded' });
    writes.guard = () => undefined;
    expect(await raw(writes.url, path, key)).toMatchObject({ mark: 'replayed' });
    // The own path knows no keys.
    await raw(writes.url, '/orders.v1.Orders/Create', key);
    expect(writes.done).toEqual(['tea', 'tea']);
    for (const bad of [
      {},
      { 'idempotency-key': 'a b' },
      { ...key, 'once-before': 'soon' },
      { ...key, 'once-ask': 'x' },
    ])
      await expect(raw(writes.url, path, bad)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    await expect(raw(writes.url, '/orders.v1.Orders/Get.once', key)).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
    });
  });

  it('gives lost answers to a client of this library', async () => {
    const writes = await serveWrites({}, { transport });
    const proxy = await proxyTo(writes.url);
    const { orders } = await writerTo(proxy.url);
    await firstValueFrom(orders.create(TEA));
    const lost = await lostInHandler(writes, () => proxy.resetAll());
    const answer = firstValueFrom(orders.create({ ...TEA, item: 'lost' }));
    await lost.cutOff;
    await waitFor(() => writes.guarded === 3);
    lost.finish();
    expect(await answer).toMatchObject({ item: 'lost', quantity: 1, sequence: '2' });
    expect(writes.done).toEqual(['tea', 'lost']);
  });

  it('tells the refusal of a guard as without a key, after one attempt', async () => {
    const writes = await serveWrites({}, { transport });
    writes.guard = (metadata) => {
      if (metadata.get('x-guest').length > 0) throw new GrpcException('PERMISSION_DENIED', 'not you');
    };
    const { orders } = await writerTo(writes.url);
    for (const guarded of [1, 3]) {
      const error = await failureOf(orders.create(TEA, { metadata: { 'x-guest': 'yes' } }));
      expect(error).toMatchObject({ code: status.PERMISSION_DENIED, reason: 'server', reachedServer: 'yes' });
      expect(error.details).toBe('not you');
      expect(writes.guarded).toBe(guarded);
      await firstValueFrom(orders.create(TEA));
    }
  });

  it('keeps the keys of tenants apart', async () => {
    const writes = await serveWrites({ scopeBy: (metadata) => String(metadata.get('x-tenant')[0]) }, { transport });
    const { orders } = await writerTo(writes.url);
    const by = (tenant: string) =>
      firstValueFrom(orders.create(TEA, { onceKey: 'order-1', metadata: { 'x-tenant': tenant } }));
    expect([await by('a'), await by('b'), await by('a')]).toMatchObject([
      { sequence: '1' },
      { sequence: '2' },
      { sequence: '1' },
    ]);
  });

  it('drains only when a handler whose caller is lost has ended', async () => {
    const writes = await serveWrites({}, { transport });
    const proxy = await proxyTo(writes.url);
    const { orders } = await writerTo(proxy.url, { once: true, retry: { maxAttempts: 2 } });
    await firstValueFrom(orders.create(TEA));
    const lost = await lostInHandler(writes, () => {
      proxy.refuse();
      proxy.resetAll();
    });
    const subscription = orders.create({ ...TEA, item: 'lost' }).subscribe({ error: () => undefined });
    await lost.cutOff;
    subscription.unsubscribe();
    let [isDraining, isClosed] = [false, false];
    writes.server.events$.subscribe(({ type }) => (isDraining ||= type === 'drain'));
    const closed = writes.close().then(() => (isClosed = true));
    await waitFor(() => isDraining);
    expect(isClosed).toBe(false);
    lost.finish();
    await closed;
  });
});
