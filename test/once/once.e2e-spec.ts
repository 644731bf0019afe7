import { once } from 'node:events';
import { connect, constants, createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { status } from '@grpc/grpc-js';
import { GrpcException } from 'nestjs-resilient-grpc/server';
import { fakeGrpcService, Http2FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { OrdersClient } from '../../src/gen/orders.pb.js';
import { failureOf } from '../calls/support.js';
import { serveWrites, writerTo } from './support.js';

/** A promise that a test resolves. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

describe('a write with a key', () => {
  it('is done, with a random key for each call', async () => {
    const writes = await serveWrites();
    const { orders } = await writerTo(writes.url);
    const keys: (string | undefined)[] = [];
    writes.handler = ({ item }, key) => {
      keys.push(key);
      return { item };
    };
    for (const item of ['tea', 'tea', 'milk'])
      expect(await firstValueFrom(orders.create({ requestId: '', item, quantity: 1 }))).toMatchObject({ item });
    expect(keys).toHaveLength(3);
    expect(new Set(keys).size).toBe(3);
    // The first call asked for the scope, and no guard saw that.
    expect(writes.guarded).toBe(3);
  });

  it('gets an answer whose trailers were cut off', async () => {
    const writes = await serveWrites();
    const upstream = connect(`http://${writes.url}`);
    let cuts = 0;
    const proxy = createServer().on('stream', (stream, headers) => {
      const forwarded = upstream.request(headers);
      stream.pipe(forwarded);
      forwarded.on('response', (answer, flags) => {
        const endStream = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
        const isCut = writes.done.length === 1 && cuts === 0;
        stream.respond(answer, { endStream, waitForTrailers: !endStream && !isCut });
        if (endStream) return;
        let trailers = {};
        forwarded.on('trailers', (given) => (trailers = given));
        stream.on('wantTrailers', () => {
          stream.sendTrailers(trailers);
        });
        if (isCut) cuts += 1;
        forwarded.pipe(stream);
      });
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    onTestFinished(() => {
      upstream.close();
      proxy.close();
    });
    const { orders } = await writerTo(`127.0.0.1:${String((proxy.address() as AddressInfo).port)}`);
    const order = { requestId: '', item: 'tea', quantity: 1 };
    expect(await firstValueFrom(orders.create(order))).toMatchObject({ item: 'tea', sequence: '1' });
    expect([writes.done, cuts]).toEqual([['tea'], 1]);
  });

  it('fails with the kept error of its handler', async () => {
    const writes = await serveWrites();
    const { orders } = await writerTo(writes.url, {
      once: true,
      retry: { retryableStatusCodes: ['INTERNAL', 'UNKNOWN'] },
    });
    writes.handler = ({ item }) => {
      writes.done.push(item);
      throw new Error('bug');
    };
    const error = await failureOf(orders.create({ requestId: '', item: 'tea', quantity: 1 }));
    expect(error).toMatchObject({ reachedServer: 'yes', attempts: [{ number: 1 }] });
    expect(writes.done).toEqual(['tea']);
  });

  it('runs again if its handler has done nothing', async () => {
    const writes = await serveWrites();
    const { orders } = await writerTo(writes.url);
    const { handler } = writes;
    let calls = 0;
    writes.handler = (request, ...rest) => {
      calls += 1;
      if (calls < 3) throw new GrpcException('UNAVAILABLE', 'later', { nothingDone: true });
      return handler(request, ...rest);
    };
    expect(await firstValueFrom(orders.create({ requestId: '', item: 'tea', quantity: 1 }))).toMatchObject({
      item: 'tea',
    });
    expect(calls).toBe(3);
  });

  it('joins equal calls: the handler runs once, for a hundred answers', async () => {
    const writes = await serveWrites();
    const { orders } = await writerTo(writes.url);
    const order = { requestId: '', item: 'tea', quantity: 1 };
    const { handler } = writes;
    const answer = gate();
    writes.handler = async (request, ...rest) => {
      await answer.opened;
      return handler(request, ...rest);
    };
    const calls = Array.from({ length: 100 }, () => firstValueFrom(orders.create(order, { onceKey: 'order-1' })));
    await waitFor(() => writes.guarded === 100);
    writes.guard = (metadata) => {
      if (metadata.get('x-stranger').length > 0) throw new GrpcException('PERMISSION_DENIED', 'no');
    };
    // Its refusal reaches nobody else, and no answer reaches it.
    const refuseStranger = async () =>
      expect(
        await failureOf(orders.create(order, { onceKey: 'order-1', metadata: { 'x-stranger': 'yes' } })),
      ).toMatchObject({ code: status.PERMISSION_DENIED });
    await refuseStranger();
    answer.open();
    const answers = await Promise.all(calls);
    await refuseStranger();
    expect(new Set(answers.map((one) => JSON.stringify(one))).size).toBe(1);
    expect(writes.done).toEqual(['tea']);
    const other = await failureOf(orders.create({ ...order, item: 'milk' }, { onceKey: 'order-1' }));
    expect(other).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(other.details).toMatch(/another request \([0-9a-f]{8}, not [0-9a-f]{8}\)/);
  });

  it('goes on after its caller has cancelled it', async () => {
    const writes = await serveWrites();
    const { client, orders } = await writerTo(writes.url);
    const order = { requestId: '', item: 'tea', quantity: 1 };
    const answer = gate();
    const { handler } = writes;
    writes.handler = async (request, ...rest) => {
      hasBegun = true;
      await answer.opened;
      return handler(request, ...rest);
    };
    let hasBegun = false;
    const subscription = orders.create(order, { onceKey: 'order-1' }).subscribe();
    await waitFor(() => hasBegun);
    subscription.unsubscribe();
    expect(await client.outcome('Create', 'order-1')).toEqual({ state: 'running' });
    answer.open();
    await waitFor(() => writes.done.length === 1);
    expect(await client.outcome('Create', 'order-1')).toMatchObject({ state: 'done', response: { item: 'tea' } });
    expect(writes.done).toEqual(['tea']);
  });
});

describe('in tests of applications', () => {
  it('any answer can be lost', async () => {
    const writes = await serveWrites();
    const proxy = await Http2FaultProxy.start(writes.url);
    onTestFinished(() => proxy.close());
    const { orders } = await writerTo(proxy.url);
    await firstValueFrom(orders.create({ requestId: '', item: 'first', quantity: 1 }));
    proxy.failCalls({ kind: 'reset', code: 'INTERNAL_ERROR', at: 'headers' }, { method: 'Create', times: 2 });
    const answer = await firstValueFrom(orders.create({ requestId: '', item: 'lost', quantity: 1 }));
    expect(answer).toMatchObject({ item: 'lost', sequence: '2' });
    expect([proxy.counters.failed, writes.guarded, writes.done]).toEqual([2, 4, ['first', 'lost']]);
  });

  it('fakes honor keys', async () => {
    let calls = 0;
    const fake = fakeGrpcService<OrdersClient>({
      create: ({ item }) => {
        calls += 1;
        if (item === 'bad') throw new Error('bad');
        return { id: '', requestId: '', item, quantity: calls, sequence: '0' } as never;
      },
    });
    const order = { requestId: '', item: 'tea', quantity: 1 };
    expect(await firstValueFrom(fake.create(order, { onceKey: 'a' }))).toMatchObject({ quantity: 1 });
    expect(await firstValueFrom(fake.create(order, { onceKey: 'a' }))).toMatchObject({ quantity: 1 });
    expect(await firstValueFrom(fake.create(order, { onceKey: 'b' }))).toMatchObject({ quantity: 2 });
    expect(await firstValueFrom(fake.create(order))).toMatchObject({ quantity: 3 });
    for (let time = 0; time < 2; time += 1)
      await expect(firstValueFrom(fake.create({ ...order, item: 'bad' }, { onceKey: 'c' }))).rejects.toThrow('bad');
    expect(calls).toBe(4);
  });
});
