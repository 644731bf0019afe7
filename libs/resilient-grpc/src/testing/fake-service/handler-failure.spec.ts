import type { Metadata } from '@grpc/grpc-js';
import { firstValueFrom, lastValueFrom, tap, throwError, type Observable } from 'rxjs';
import { describe, expect, it, vi } from 'vitest';
import { isGrpcCallError } from '../../errors/grpc-call-error.js';
import type { FakeHandlers } from './fake-call.js';
import { fakeGrpcService } from './fake-grpc-service.js';
import { grpcError } from './grpc-error.js';

interface Item {
  id: string;
}
/** As ts-proto generates it. */
interface ShopClient {
  get(request: { id: string }, metadata?: Metadata): Observable<Item>;
  watch(request: { from: number }, metadata?: Metadata): Observable<{ sequence: number }>;
  upload(request: Observable<Item>, metadata?: Metadata): Observable<{ count: number }>;
  talk(request: Observable<Item>, metadata?: Metadata): Observable<{ ack: string }>;
}
const fake = (handlers: FakeHandlers<ShopClient>) => fakeGrpcService<ShopClient>(handlers);
const get = (handler: FakeHandlers<ShopClient>['get']) => firstValueFrom(fake({ get: handler! }).get({ id: '7' }));
const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no failure',
    (error: unknown) => error,
  );

async function* count(from: number, to = Infinity) {
  for (let sequence = from; sequence <= to; sequence++) yield { sequence };
}

describe('handler failure', () => {
  it('delivers the error of the handler to the caller', async () => {
    const error = await failureOf(
      get(() => {
        throw grpcError('UNAVAILABLE', 'the bank is closed', {
          reason: 'circuit-open',
          retryAfterMs: 700,
          metadata: { 'x-a': 'b' },
        });
      }),
    );
    expect(error).toMatchObject({
      message: '14 UNAVAILABLE: the bank is closed',
      reason: 'circuit-open',
      reachedServer: 'no',
      retryAfterMs: 700,
      path: '/fake/get',
      attempts: [expect.objectContaining({ number: 1, code: 14 })],
    });
    expect((error as { metadata: Metadata }).metadata.get('x-a')).toEqual(['b']);
  });

  it.each<[string, () => never | Observable<never>]>([
    [
      'thrown by the handler',
      () => {
        throw grpcError('NOT_FOUND', 'no 7');
      },
    ],
    ['emitted by an Observable', () => throwError(() => grpcError('NOT_FOUND', 'no 7'))],
    [
      'thrown in the form that a grpc-js server expects',
      () => {
        throw Object.assign(new Error('x'), { code: 5, details: 'no 7' });
      },
    ],
  ])('delivers a status %s', async (_what, handler) => {
    expect(await failureOf(get(handler))).toMatchObject({
      codeName: 'NOT_FOUND',
      details: 'no 7',
      reason: 'server',
      reachedServer: 'yes',
    });
  });

  it('converts any other error to UNKNOWN and keeps it as the cause', async () => {
    const bug = new TypeError('x is not a function');
    const error = await failureOf(
      get(() => {
        throw bug;
      }),
    );
    expect(error).toMatchObject({ codeName: 'UNKNOWN', details: 'x is not a function', cause: bug });
  });

  it("delivers the messages before the error and sets reachedServer to 'yes'", async () => {
    const shop = fake({
      async *watch({ from }) {
        yield* count(from, from + 1);
        throw grpcError('UNAVAILABLE', 'gone', { reason: 'connection-lost' });
      },
    });
    const seen: unknown[] = [];
    const error = await failureOf(lastValueFrom(shop.watch({ from: 1 }).pipe(tap((one) => seen.push(one)))));
    expect(error).toMatchObject({ reason: 'connection-lost', reachedServer: 'yes' });
    expect(seen).toEqual([{ sequence: 1 }, { sequence: 2 }]);
  });

  it('never retries a call, not even an idempotent one', async () => {
    const handler = vi.fn(() => {
      throw grpcError('UNAVAILABLE');
    });
    const shop = fake({ get: handler });
    await failureOf(firstValueFrom(shop.get({ id: '7' }, { idempotent: true })));
    expect(handler).toHaveBeenCalledTimes(1);
  });

  it('fails with UNIMPLEMENTED if the method has no handler', async () => {
    const shop = fake({});
    expect(await failureOf(firstValueFrom(shop.get({ id: '7' })))).toMatchObject({
      codeName: 'UNIMPLEMENTED',
      details: "fakeGrpcService has no handler for 'get'",
    });
    expect(shop.calls.map(({ method }) => method)).toEqual(['get']);
  });
});

describe('grpcError', () => {
  it.each([
    ['outage', 'no'],
    ['connection-lost', 'maybe'],
    ['server', 'yes'],
  ] as const)('derives reachedServer from the reason unless it is given: %s, %s', (reason, reachedServer) => {
    expect(grpcError('UNAVAILABLE', 'x', { reason })).toMatchObject({ reason, reachedServer });
    expect(grpcError('UNAVAILABLE', 'x', { reason, reachedServer: 'yes' }).reachedServer).toBe('yes');
  });

  it('carries google.rpc status details as a server sends them', () => {
    const value = { fieldViolations: [{ field: 'id', description: 'too short' }] };
    const error = grpcError('INVALID_ARGUMENT', 'bad', {
      statusDetails: [{ typeUrl: 'google.rpc.BadRequest', value }],
    });
    expect(error.statusDetails).toEqual([
      expect.objectContaining({
        value: expect.objectContaining({ fieldViolations: [expect.objectContaining({ field: 'id' })] }),
      }),
    ]);
    expect(isGrpcCallError(error, 'INVALID_ARGUMENT')).toBe(true);
  });

  it.each(['OK', 'NOT_THERE', 5])('rejects the code %s', (code) => {
    expect(() => grpcError(code as never)).toThrow(TypeError);
  });
});
