import { Injectable, ParseIntPipe, UseInterceptors, type CallHandler, type NestInterceptor } from '@nestjs/common';
import { GrpcMethod, Payload } from '@nestjs/microservices';
import { CallSignal, CallTrailers, Once } from 'nestjs-resilient-grpc/server';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import type { Metadata } from '@grpc/grpc-js';
import { firstValueFrom, map, of, type Observable } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { failureOf } from '../calls/support.js';
import { proxyTo, serveController, serveWrites, writerTo } from './support.js';

const TEA = { requestId: '', item: 'tea', quantity: 1 };

describe('an @Once() handler', () => {
  it('runs its interceptors and pipes once, and a request that a pipe refuses leaves its key free', async () => {
    const seen: string[] = [];
    @Injectable()
    class Wrap implements NestInterceptor {
      intercept(_context: unknown, next: CallHandler): Observable<unknown> {
        seen.push('interceptor');
        return next.handle().pipe(map((order: object) => ({ ...order, id: 'wrapped' })));
      }
    }
    class Orders {
      @GrpcMethod('Orders', 'Create')
      @UseInterceptors(Wrap)
      @Once()
      create(@Payload('item', ParseIntPipe) item: number): Observable<object> {
        seen.push(`handler ${String(item)}`);
        return of({ item: String(item) });
      }
    }
    const { orders } = await writerTo(await serveController(Orders));
    const refused = await failureOf(orders.create(TEA, { onceKey: 'a' }));
    expect(refused.metadata.get('once')).toEqual(['released']);
    // Another request may have the key, because the first one has done nothing.
    for (let time = 0; time < 3; time += 1)
      expect(await firstValueFrom(orders.create({ ...TEA, item: '7' }, { onceKey: 'a' }))).toMatchObject({
        id: 'wrapped',
      });
    expect(seen).toEqual(['interceptor', 'interceptor', 'handler 7']);
  });

  it('has a signal that neither a lost connection nor its caller aborts, but the deadline', async () => {
    const signals: AbortSignal[] = [];
    class Orders {
      @Once()
      @GrpcMethod('Orders', 'Create')
      create(@Payload() { item }: { item: string }, @CallSignal() signal: AbortSignal): Promise<object> {
        signals.push(signal);
        return new Promise((resolve) => signal.addEventListener('abort', () => resolve({ item })));
      }
    }
    const proxy = await proxyTo(await serveController(Orders));
    const { client, orders } = await writerTo(proxy.url);
    const lost = failureOf(orders.create(TEA, { onceKey: 'a', timeoutMs: 1_000 }));
    await waitFor(() => signals.length === 1);
    proxy.resetAll();
    await waitFor(() => proxy.counters.accepted >= 2);
    expect(signals[0]?.aborted).toBe(false);
    await lost;
    await waitFor(async () => (await client.outcome('Create', 'a')).state === 'done');
    expect(signals).toHaveLength(1);
    expect(signals[0]?.aborted).toBe(true);
  });

  it('keeps trailers, and marks what it repeats', async () => {
    class Orders {
      @Once()
      @GrpcMethod('Orders', 'Create')
      create(@Payload() { item }: { item: string }, @CallTrailers() trailers: Metadata): object {
        trailers.set('x-cost', '3');
        trailers.set('x-bytes-bin', Buffer.from([1, 2, 255]));
        return { item };
      }
    }
    const { orders } = await writerTo(await serveController(Orders));
    const marks: unknown[] = [];
    for (let time = 0; time < 2; time += 1)
      await firstValueFrom(
        orders.create(TEA, {
          onceKey: 'a',
          onEnd: ({ trailers }) =>
            marks.push([
              trailers.get('once')[0],
              trailers.get('x-cost')[0],
              [...(trailers.get('x-bytes-bin')[0] as Buffer)],
            ]),
        }),
      );
    expect(marks).toEqual([
      [undefined, '3', [1, 2, 255]],
      ['replayed', '3', [1, 2, 255]],
    ]);
  });

  it('gives up the permit of a call that waits for it, when that call is cancelled', async () => {
    const writes = await serveWrites({}, { methods: { Create: { maxConcurrentCalls: 2 } } });
    const { orders } = await writerTo(writes.url);
    let finish!: () => void;
    const goesOn = new Promise<void>((resolve) => (finish = resolve));
    const { handler } = writes;
    writes.handler = async (request, ...rest) => {
      writes.handler = handler;
      await goesOn;
      return handler(request, ...rest);
    };
    const first = firstValueFrom(orders.create(TEA, { onceKey: 'a' }));
    await waitFor(() => writes.guarded === 1);
    for (let time = 0; time < 3; time += 1) {
      const joined = orders.create(TEA, { onceKey: 'a' }).subscribe();
      await waitFor(() => writes.guarded === 2 + time);
      joined.unsubscribe();
    }
    expect(await firstValueFrom(orders.create({ ...TEA, item: 'other' }))).toMatchObject({ item: 'other' });
    finish();
    expect(await first).toMatchObject({ item: 'tea' });
    await waitFor(() => writes.server.overload().limits[0]?.running === 0);
    expect(writes.server.lingeringHandlers).toBe(0);
    expect(writes.done).toEqual(['other', 'tea']);
  });

  it('settles in doubt by hand', async () => {
    const writes = await serveWrites();
    await expect(writes.server.settleWrite('/orders.v1.Orders/Get', 'a', undefined)).rejects.toThrow('@Once()');
    expect(await writes.server.settleWrite('/orders.v1.Orders/Create', 'a', undefined)).toBe(false);
  });
});
