import { Inject, Injectable, Module, Scope, type INestApplicationContext } from '@nestjs/common';
import { NestFactory, REQUEST } from '@nestjs/core';
import {
  GrpcClients,
  GrpcConfigurationError,
  ResilientGrpcModule,
  isGrpcCallError,
  type CallEnd,
  type GrpcClientInterceptor,
  type GrpcClientSettings,
  type OutgoingAttempt,
  type OutgoingCall,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks, waitFor, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, toArray } from 'rxjs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { OrdersClient } from './orders-client.js';
import { ORDERS_PROTO } from './places.js';

const leaks = captureLeaks();
let server: ScriptedGrpcServer;
let app: INestApplicationContext | undefined;
let seen: ScriptedCall[];

beforeAll(async () => {
  server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
});
beforeEach(() => {
  seen = [];
  server.reset();
  script([{}]);
});
afterEach(async () => {
  await app?.close();
  app = undefined;
});
afterAll(async () => {
  await server.close();
  await leaks.settled();
});

function script(replies: readonly { readonly status?: 'UNAVAILABLE' }[]): void {
  server.script('Get', (call) => {
    seen.push(call);
    return replies[Math.min(seen.length, replies.length) - 1] ?? {};
  });
}

const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A provider of access tokens. */
@Injectable()
class Tokens {
  private issued = 0;

  async next(): Promise<string> {
    await pause();
    this.issued += 1;
    return `token-${this.issued}`;
  }
}

@Injectable()
class TokenInterceptor implements GrpcClientInterceptor {
  readonly ends: CallEnd[] = [];

  constructor(@Inject(Tokens) private readonly tokens: Tokens) {}

  async onAttempt({ metadata }: OutgoingAttempt): Promise<void> {
    metadata.set('authorization', await this.tokens.next());
  }

  onEnd(_call: OutgoingCall, end: CallEnd): void {
    this.ends.push(end);
  }
}

@Module({ providers: [Tokens, TokenInterceptor] })
class TokenModule {}

@Injectable({ scope: Scope.REQUEST })
class RequestScoped {
  onCall(): void {}
}

@Injectable()
class InjectsRequest {
  constructor(@Inject(REQUEST) readonly request: unknown) {}
  onCall(): void {}
}

@Injectable({ scope: Scope.TRANSIENT })
class Transient {
  onCall(): void {}
}

class Unprovided {
  onCall(): void {}
}

async function start(
  settings: Partial<GrpcClientSettings>,
  defaults: Partial<GrpcClientSettings> = {},
  providers: (new (...args: never[]) => object)[] = [],
) {
  @Module({
    imports: [
      ResilientGrpcModule.forRoot({ defaults }),
      ResilientGrpcModule.forFeatureAsync([
        { name: 'orders', protoPath: ORDERS_PROTO, useFactory: () => ({ url: server.url, ...settings }) },
      ]),
      TokenModule,
    ],
    providers: providers as never[],
  })
  class AppModule {}
  app = await NestFactory.createApplicationContext(AppModule, { logger: false, abortOnError: false });
  return app.get(GrpcClients).get('orders').getService<OrdersClient>('Orders');
}

type Orders = Awaited<ReturnType<typeof start>>;

const values = (key: string) => seen.map(({ metadata }) => metadata.get(key).join());

describe('interceptors', () => {
  it("creates client interceptors in Nest's container with their dependencies and runs them before each attempt", async () => {
    script([{ status: 'UNAVAILABLE' }, {}]);
    const orders = await start({ interceptors: [TokenInterceptor] });
    await firstValueFrom(orders.get({ id: '1' }));
    expect(values('authorization')).toEqual(['token-1', 'token-2']);
    expect(values('grpc-previous-rpc-attempts')).toEqual(['', '1']);
    const [end, ...more] = app!.get(TokenInterceptor, { strict: false }).ends;
    expect(more).toEqual([]);
    expect(end?.attempts.map(({ number, code }) => [number, code])).toEqual([
      [1, 14],
      [2, 0],
    ]);
  });

  it('runs and awaits client interceptors one after another, default interceptors first', async () => {
    const order: string[] = [];
    const named = (name: string): GrpcClientInterceptor => ({
      async onCall({ path, kind, metadata }) {
        await pause();
        order.push(`${name} ${path} ${kind}`);
        metadata.set('x-by', name);
      },
      onAttempt({ number, deadline, metadata }) {
        order.push(`${name} ${number} ${typeof deadline?.getTime()} ${metadata.get('x-by').join()}`);
      },
    });
    const orders = await start({ interceptors: [named('own')] }, { interceptors: [named('all')] });
    await firstValueFrom(orders.get({ id: '1' }, { timeoutMs: 20_000 }));
    expect(order).toEqual([
      'all /orders.v1.Orders/Get unary',
      'own /orders.v1.Orders/Get unary',
      'all 1 number own',
      'own 1 number own',
    ]);
    expect(values('x-by')).toEqual(['own']);
  });

  it('lets client interceptors change the metadata of one attempt without affecting the next one', async () => {
    script([{ status: 'UNAVAILABLE' }, {}]);
    const orders = await start({
      interceptors: [{ onAttempt: ({ number, metadata }) => metadata.add('x-attempt', String(number)) }],
      metadata: { 'x-all': 'all' },
    });
    await firstValueFrom(orders.get({ id: '1' }));
    expect(values('x-attempt')).toEqual(['1', '2']);
    expect(values('x-all')).toEqual(['all', 'all']);
  });

  const throws = () => {
    throw new Error('no token');
  };
  const rejectsWith = (properties: { readonly code?: number }) => async () => {
    throw Object.assign(new Error('no token'), properties);
  };

  it.each<[string, GrpcClientInterceptor, number]>([
    ['onCall throws', { onCall: throws }, 13],
    ['onCall rejects', { onCall: rejectsWith({}) }, 13],
    ['onAttempt throws', { onAttempt: throws }, 13],
    ['onAttempt rejects with a code', { onAttempt: rejectsWith({ code: 16 }) }, 16],
    ['onAttempt rejects with a code that describes the request', { onAttempt: rejectsWith({ code: 5 }) }, 13],
  ])('fails the call before anything is sent if a client interceptor fails: %s', async (_, interceptor, code) => {
    const orders = await start({ interceptors: [interceptor] });
    const error: unknown = await firstValueFrom(orders.get({ id: '1' })).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code, reason: 'not-sent', reachedServer: 'no' });
    expect((error as Error).message).toContain('no token');
    expect(seen).toEqual([]);
  });

  /** Calls that end in different ways, and the code that `onEnd` receives. */
  const ways: readonly [string, number, (orders: Orders, client: ResilientGrpcClient) => Promise<unknown>][] = [
    ['completes', 0, async (orders) => firstValueFrom(orders.get({ id: '7' }))],
    [
      'fails',
      5,
      async (orders) => {
        server.script('Get', { status: 'NOT_FOUND' });
        await firstValueFrom(orders.get({ id: '7' }));
      },
    ],
    [
      'is unsubscribed from',
      1,
      async (orders) => {
        server.script('Get', { never: true });
        const subscription = orders.get({ id: '7' }).subscribe();
        await waitFor(() => server.counts().open === 1);
        subscription.unsubscribe();
      },
    ],
    [
      'is aborted',
      1,
      async (orders) => {
        server.script('Get', { never: true });
        const abort = new AbortController();
        const answer = firstValueFrom(orders.get({ id: '7' }, { signal: abort.signal }));
        await waitFor(() => server.counts().open === 1);
        abort.abort();
        await answer;
      },
    ],
    [
      'exceeds its deadline',
      4,
      async (orders) => {
        server.script('Get', { never: true });
        await firstValueFrom(orders.get({ id: '7' }, { timeoutMs: 50 }));
      },
    ],
    [
      'is cut off by a drain',
      14,
      async (orders, client) => {
        server.script('Get', { never: true });
        const answer = firstValueFrom(orders.get({ id: '7' }));
        await waitFor(() => server.counts().open === 1);
        await Promise.all([answer, client.drain({ timeoutMs: 0 })]);
      },
    ],
  ];

  it.each(ways)(
    'calls onCall and onEnd of an interceptor exactly once for a call that %s',
    async (_how, code, work) => {
      const called: unknown[] = [];
      const interceptor: GrpcClientInterceptor = {
        onCall: () => void called.push('call'),
        onEnd: (_call, end) => void called.push(end.code),
      };
      const orders = await start({ interceptors: [interceptor] });
      await work(orders, app!.get(GrpcClients).get('orders')).catch(() => undefined);
      expect(called).toEqual(['call', code]);
    },
  );

  it('ends a call that a client interceptor holds if the deadline passes or the caller unsubscribes', async () => {
    const orders = await start({ interceptors: [{ onCall: () => new Promise<void>(() => undefined) }] });
    await expect(firstValueFrom(orders.get({ id: '1' }, { timeoutMs: 30 } as never))).rejects.toSatisfy((error) =>
      isGrpcCallError(error, 'DEADLINE_EXCEEDED'),
    );
    orders.get({ id: '1' }).subscribe().unsubscribe();
    await pause();
    expect(seen).toEqual([]);
  });

  it.each<[string, new (...args: never[]) => GrpcClientInterceptor, RegExp]>([
    [
      'a request-scoped class',
      RequestScoped,
      /RequestScoped is request-scoped.*make the interceptor a singleton.*call\.inbound/,
    ],
    ['a class that injects a request-scoped provider', InjectsRequest, /InjectsRequest is request-scoped/],
    ['a transient class', Transient, /Transient is transient/],
    ['a class that no module provides', Unprovided, /no module provides Unprovided; add it to the providers/],
  ])('rejects %s as a client interceptor when the application starts', async (_, type, message) => {
    const provided = type === Unprovided ? [] : [type];
    const error: unknown = await start({ interceptors: [type] }, {}, provided).catch((reason: unknown) => reason);
    if (!(error instanceof GrpcConfigurationError)) throw error;
    expect(error.problems).toHaveLength(1);
    expect(error.problems[0]?.path).toBe('clients.orders.interceptors');
    expect(error.problems[0]?.message).toMatch(message);
  });
});

describe('metadata function', () => {
  it('calls a metadata function once per attempt, and prefers its result to static metadata but not to the metadata of the call', async () => {
    script([{ status: 'UNAVAILABLE' }, {}]);
    let calls = 0;
    const orders = await start(
      {
        metadata: async ({ method }) => {
          await pause();
          calls += 1;
          return { authorization: `token-${calls}`, 'x-method': method, 'x-own': 'function' };
        },
      },
      { metadata: { authorization: 'fixed', 'x-fixed': 'fixed' } },
    );
    await firstValueFrom(orders.get({ id: '1' }, { metadata: { 'x-own': 'call' } } as never).pipe(toArray()));
    expect(calls).toBe(2);
    expect(values('authorization')).toEqual(['token-1', 'token-2']);
    expect(values('x-method')).toEqual(['Get', 'Get']);
    expect(values('x-fixed')).toEqual(['fixed', 'fixed']);
    expect(values('x-own')).toEqual(['call', 'call']);
  });

  // 1 is CANCELLED: the request for the token was cancelled, not the call.
  it.each([14, 1])('fails the call if a metadata function rejects with code %i', async (code) => {
    const error = Object.assign(new Error('the token service is down'), { code });
    const orders = await start({ metadata: () => Promise.reject(error) });
    await expect(firstValueFrom(orders.get({ id: '1' }))).rejects.toMatchObject({
      code,
      reason: 'not-sent',
      reachedServer: 'no',
      attempts: [expect.objectContaining({ number: 1 })],
    });
  });
});
