import 'reflect-metadata';
import { once } from 'node:events';
import { connect, constants, createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { UseGuards, ValidationPipe, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { GrpcMethod, RpcException } from '@nestjs/microservices';
import { GrpcException, MemoryOnceStore, Once, type OnceStore } from 'nestjs-resilient-grpc/server';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { asyncScheduler, concat, firstValueFrom, observeOn, of, throwError, type Observable } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { failureOf } from '../calls/support.js';
import { serveController, serveWrites, writerTo } from './support.js';

const TEA = { requestId: '', item: 'tea', quantity: 1 };

const away = (): RpcException => new RpcException({ code: 14, message: 'downstream away' });

/** A store whose answers arrive later, as those of a database do. */
function distantStore(ms: number): OnceStore {
  const memory = new MemoryOnceStore();
  return {
    identify: () => memory.identify(),
    async apply(...given) {
      await new Promise((resolve) => setTimeout(resolve, ms));
      return memory.apply(...given);
    },
  };
}

/** Starts a proxy to `url` that answers requests with a page of its own if `hasPage` says so. */
async function proxyWithPages(url: string, hasPage: (path?: string) => boolean, page = 404): Promise<string> {
  const upstream = connect(`http://${url}`);
  const proxy = createServer().on('stream', (stream, headers) => {
    if (hasPage(headers[':path'])) {
      stream.respond({ ':status': page, 'content-type': 'text/html' });
      stream.end('<h1>Not found</h1>');
      return;
    }
    const forwarded = upstream.request(headers);
    stream.pipe(forwarded);
    stream.on('aborted', () => {
      forwarded.close(constants.NGHTTP2_CANCEL);
    });
    forwarded.on('response', (answer, flags) => {
      const endStream = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      stream.respond(answer, { endStream, waitForTrailers: !endStream });
      forwarded.on('trailers', (trailers) => {
        stream.on('wantTrailers', () => {
          stream.sendTrailers(trailers);
        });
      });
      forwarded.pipe(stream);
    });
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    upstream.destroy();
    proxy.close();
  });
  return `127.0.0.1:${String((proxy.address() as AddressInfo).port)}`;
}

describe('a write has one effect', () => {
  it('if its handler resolves to an Observable that fails', async () => {
    let effects = 0;
    class Orders {
      @Once()
      @GrpcMethod('Orders', 'Create')
      async create(_request: object): Promise<Observable<never>> {
        await Promise.resolve();
        effects += 1;
        return throwError(away);
      }
    }
    const { orders } = await writerTo(await serveController(Orders, {}, new ValidationPipe()));
    for (let call = 0; call < 3; call++) {
      expect(await failureOf(orders.create(TEA, { onceKey: 'tea-1' }))).toMatchObject({ details: 'downstream away' });
    }
    expect(effects).toBe(1);
  });

  it('if a decorator above @Once() fails after the handler, as a transaction at its COMMIT', async () => {
    let effects = 0;
    const Transactional: MethodDecorator = (_target, _name, descriptor) => {
      const original = descriptor.value as (...args: unknown[]) => Promise<unknown>;
      const wrapped = async function (this: unknown, ...args: unknown[]): Promise<never> {
        await original.apply(this, args);
        throw away();
      };
      for (const key of Reflect.getMetadataKeys(original) as string[])
        Reflect.defineMetadata(key, Reflect.getMetadata(key, original), wrapped);
      Object.assign(descriptor, { value: wrapped });
    };
    class Orders {
      @Transactional
      @Once()
      @GrpcMethod('Orders', 'Create')
      async create(request: object): Promise<object> {
        await Promise.resolve();
        effects += 1;
        return request;
      }
    }
    const { orders } = await writerTo(await serveController(Orders, {}, new ValidationPipe()));
    for (let call = 0; call < 3; call++) await failureOf(orders.create(TEA, { onceKey: 'tea-1' }));
    expect(effects).toBe(1);
  });

  it('if its handler forwards the error of another service that had done nothing', async () => {
    const stock = await serveWrites();
    stock.handler = () => {
      throw new GrpcException('UNAVAILABLE', 'no stock yet', { nothingDone: true });
    };
    const { orders: stocks } = await writerTo(stock.url, { once: true, retry: { maxAttempts: 2 } });
    const shop = await serveWrites();
    shop.handler = async ({ item }) => {
      shop.done.push(item);
      const { code, details, metadata } = await failureOf(stocks.create(TEA));
      throw new RpcException({ code, message: details, metadata });
    };
    const { orders } = await writerTo(shop.url);
    expect(await failureOf(orders.create(TEA))).toMatchObject({ details: 'no stock yet' });
    expect(shop.done).toEqual(['tea']);
  });

  it('if a later attempt of a hedged call meets a page of a proxy instead of the server', async () => {
    const writes = await serveWrites();
    let pages = 0;
    const proxy = await proxyWithPages(writes.url, () => writes.done.length === 2 && ++pages === 1);
    const { client, orders } = await writerTo(proxy, { once: true, hedge: 50 });
    await firstValueFrom(orders.create(TEA));
    const { handler } = writes;
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => (end = resolve));
    writes.handler = async (...given) => {
      const order = handler(...given);
      await ended;
      return order;
    };
    const order = firstValueFrom(orders.create({ ...TEA, item: 'milk' }));
    await waitFor(() => pages > 0 && writes.guarded >= 3);
    end();
    expect(await order).toMatchObject({ item: 'milk', sequence: '2' });
    expect(writes.done).toEqual(['tea', 'milk']);
    expect(client.snapshot().counters.hedged).toBeGreaterThan(0);
  });
});

it('the refusal of a proxy is told as without a key', async () => {
  const writes = await serveWrites();
  const proxy = await proxyWithPages(writes.url, () => writes.done.length > 0);
  const [marked, plain] = [await writerTo(proxy), await writerTo(proxy, {})];
  await firstValueFrom(marked.orders.create(TEA));
  const [{ code, reason, details }, refusal] = [
    await failureOf(marked.orders.create(TEA)),
    await failureOf(plain.orders.create(TEA)),
  ];
  expect({ code, reason, details }).toEqual({ code: refusal.code, reason: refusal.reason, details: refusal.details });
});

it('a proxy that forbids one call its question takes the keys from no other', async () => {
  const writes = await serveWrites();
  const keys: unknown[] = [];
  writes.handler = ({ item }, key) => {
    keys.push(key);
    return { item };
  };
  let forbidden = 0;
  const proxy = await proxyWithPages(writes.url, (path) => path?.endsWith('.once') === true && ++forbidden <= 2, 403);
  const { orders } = await writerTo(proxy);
  for (let call = 0; call < 4; call++) await firstValueFrom(orders.create(TEA));
  expect(keys.map((key) => typeof key)).toEqual(['undefined', 'undefined', 'string', 'string']);
});

it('a proxy that forbids the path for keys is asked three times', async () => {
  const writes = await serveWrites();
  let asked = 0;
  const proxy = await proxyWithPages(writes.url, (path) => path?.endsWith('.once') === true && ++asked > 0, 403);
  const { orders } = await writerTo(proxy);
  for (let call = 0; call < 6; call++) await firstValueFrom(orders.create(TEA));
  expect([writes.done.length, asked]).toEqual([6, 3]);
});

/** A controller whose `Create` returns its request. */
function guardedBy(guard: new () => CanActivate): new () => object {
  class Orders {
    @UseGuards(guard)
    @Once()
    @GrpcMethod('Orders', 'Create')
    create(request: object): object {
      return request;
    }
  }
  return Orders;
}

describe('a key', () => {
  it('belongs to the request that was sent, whatever a guard puts in its place', async () => {
    class Guard implements CanActivate {
      canActivate(context: ExecutionContext): boolean {
        const args: object[] = context.getArgs();
        args[0] = { ...args[0], requestId: 'user-1' };
        return true;
      }
    }
    const { orders } = await writerTo(await serveController(guardedBy(Guard)));
    expect(await firstValueFrom(orders.create(TEA, { onceKey: 'tea-1' }))).toMatchObject({ item: 'tea' });
    const other = failureOf(orders.create({ ...TEA, item: 'milk' }, { onceKey: 'tea-1' }));
    expect(await other).toMatchObject({ code: 3, details: expect.stringContaining('another request') as string });
  });

  it.each([0, 20])('has one answer, if a handler fails after its value (store that answers in %i ms)', async (ms) => {
    class Orders {
      @Once()
      @GrpcMethod('Orders', 'Create')
      create(request: object): Observable<object> {
        return concat(of(request).pipe(observeOn(asyncScheduler)), throwError(away));
      }
    }
    const store = ms === 0 ? new MemoryOnceStore() : distantStore(ms);
    const { orders } = await writerTo(await serveController(Orders, { once: { store } }));
    // Plain Nest answers with the value, too.
    for (let call = 0; call < 2; call++)
      expect(await firstValueFrom(orders.create(TEA, { onceKey: 'tea-1' }))).toMatchObject(TEA);
  });

  it('leaves no permit behind when equal calls are cancelled while a guard works', async () => {
    let isSlow = false;
    let entered = 0;
    class Guard implements CanActivate {
      async canActivate(): Promise<boolean> {
        entered += 1;
        await new Promise((resolve) => setTimeout(resolve, isSlow ? 50 : 0));
        return true;
      }
    }
    const url = await serveController(guardedBy(Guard), {
      once: { store: distantStore(20) },
      methods: { Create: { maxConcurrentCalls: { max: 4, queue: 0 } } },
    });
    const { orders } = await writerTo(url);
    await firstValueFrom(orders.create(TEA));
    for (let pair = 0; pair < 5; pair++) {
      isSlow = true;
      entered = 0;
      const calls = [1, 2].map(() => orders.create(TEA, { onceKey: `pair-${String(pair)}` }).subscribe());
      await waitFor(() => entered === 2);
      for (const call of calls) call.unsubscribe();
      isSlow = false;
      // Four permits: those of the pair are free again as soon as its guards have ended.
      await waitFor(async () =>
        (await Promise.allSettled([1, 2, 3, 4].map(() => firstValueFrom(orders.create(TEA))))).every(
          ({ status }) => status === 'fulfilled',
        ),
      );
    }
    expect(await firstValueFrom(orders.create(TEA))).toMatchObject(TEA);
  });
});
