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
} from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
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

/** What a provider of tokens would be. */
@Injectable()
class Tokens {
  private given = 0;

  async next(): Promise<string> {
    await pause();
    this.given += 1;
    return `token-${this.given}`;
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
class OfRequest {
  onCall(): void {}
}

@Injectable()
class ByRequest {
  constructor(@Inject(REQUEST) readonly request: unknown) {}
  onCall(): void {}
}

@Injectable({ scope: Scope.TRANSIENT })
class Passing {
  onCall(): void {}
}

class Stranger {
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

const values = (key: string) => seen.map(({ metadata }) => metadata.get(key).join());

describe('interceptors', () => {
  it('come from the container, with what they inject, and are asked before each attempt', async () => {
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

  it('run in order, those of the defaults first, each waited for', async () => {
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

  it('that change metadata of an attempt leave the next one alone', async () => {
    script([{ status: 'UNAVAILABLE' }, {}]);
    const orders = await start({
      interceptors: [{ onAttempt: ({ number, metadata }) => metadata.add('x-attempt', String(number)) }],
      metadata: { 'x-all': 'all' },
    });
    await firstValueFrom(orders.get({ id: '1' }));
    expect(values('x-attempt')).toEqual(['1', '2']);
    expect(values('x-all')).toEqual(['all', 'all']);
  });

  it.each<[string, GrpcClientInterceptor, number]>([
    [
      'onCall throws',
      {
        onCall: () => {
          throw new Error('no token');
        },
      },
      13,
    ],
    [
      'onCall rejects',
      {
        onCall: async () => {
          throw new Error('no token');
        },
      },
      13,
    ],
    [
      'onAttempt throws',
      {
        onAttempt: () => {
          throw new Error('no token');
        },
      },
      13,
    ],
    [
      'onAttempt rejects with a code',
      {
        onAttempt: async () => {
          throw Object.assign(new Error('no token'), { code: 16 });
        },
      },
      16,
    ],
    [
      'onAttempt rejects with a code of the request',
      {
        onAttempt: async () => {
          throw Object.assign(new Error('no token'), { code: 5 });
        },
      },
      13,
    ],
  ])('that fail a call fail it before anything is sent: %s', async (_, interceptor, code) => {
    const orders = await start({ interceptors: [interceptor] });
    const error: unknown = await firstValueFrom(orders.get({ id: '1' })).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code, reason: 'not-sent', reachedServer: 'no' });
    expect((error as Error).message).toContain('no token');
    expect(seen).toEqual([]);
  });

  it('that never answer are bounded by the deadline, and by the caller who leaves', async () => {
    const orders = await start({ interceptors: [{ onCall: () => new Promise<void>(() => undefined) }] });
    await expect(firstValueFrom(orders.get({ id: '1' }, { timeoutMs: 30 } as never))).rejects.toSatisfy((error) =>
      isGrpcCallError(error, 'DEADLINE_EXCEEDED'),
    );
    orders.get({ id: '1' }).subscribe().unsubscribe();
    await pause();
    expect(seen).toEqual([]);
  });

  it.each<[string, new (...args: never[]) => GrpcClientInterceptor, RegExp]>([
    ['one of a request', OfRequest, /OfRequest is request-scoped.*make it a singleton.*call\.inbound/],
    ['one that injects what is of a request', ByRequest, /ByRequest is request-scoped/],
    ['one for each who injects it', Passing, /Passing is transient/],
    ['one that no module provides', Stranger, /no module provides Stranger; write it into the providers/],
  ])('of another kind are refused at the start: %s', async (_, type, message) => {
    const provided = type === Stranger ? [] : [type];
    const error: unknown = await start({ interceptors: [type] }, {}, provided).catch((reason: unknown) => reason);
    if (!(error instanceof GrpcConfigurationError)) throw error;
    expect(error.problems).toHaveLength(1);
    expect(error.problems[0]?.path).toBe('clients.orders.interceptors');
    expect(error.problems[0]?.message).toMatch(message);
  });
});

describe('metadata from a function', () => {
  it('is asked for once per attempt, and wins over what is fixed, but not over the call', async () => {
    script([{ status: 'UNAVAILABLE' }, {}]);
    let asked = 0;
    const orders = await start(
      {
        metadata: async ({ method }) => {
          await pause();
          asked += 1;
          return { authorization: `token-${asked}`, 'x-method': method, 'x-own': 'function' };
        },
      },
      { metadata: { authorization: 'fixed', 'x-fixed': 'fixed' } },
    );
    await firstValueFrom(orders.get({ id: '1' }, { metadata: { 'x-own': 'call' } } as never).pipe(toArray()));
    expect(asked).toBe(2);
    expect(values('authorization')).toEqual(['token-1', 'token-2']);
    expect(values('x-method')).toEqual(['Get', 'Get']);
    expect(values('x-fixed')).toEqual(['fixed', 'fixed']);
    expect(values('x-own')).toEqual(['call', 'call']);
  });

  it('that fails, fails the call', async () => {
    const orders = await start({
      metadata: () => {
        throw Object.assign(new Error('the token service is down'), { code: 14 });
      },
    });
    await expect(firstValueFrom(orders.get({ id: '1' }))).rejects.toMatchObject({
      code: 14,
      reason: 'not-sent',
      reachedServer: 'no',
      attempts: [expect.objectContaining({ number: 1 })],
    });
  });
});
