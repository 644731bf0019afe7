import { InterceptingCall, Metadata, credentials, type CallCredentials, type Interceptor } from '@grpc/grpc-js';
import type { GrpcCallOptions, ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { EchoClient } from '../testing/echo-client.js';
import { scene, startBehindProxy, turns, type EchoService } from './support.js';

// A plain client of grpc-js is the oracle of these tests.

const passing: Interceptor = (options, next) => new InterceptingCall(next(options));

/** Result of a call: 'ok', or the code and the details of its error. */
type Outcome = string | readonly [number, string];

async function outcomeOf(call: Promise<unknown>): Promise<Outcome> {
  const result = await call.then(
    () => undefined,
    (error: unknown) => error as { readonly code: number; readonly details: string },
  );
  return result === undefined ? 'ok' : [result.code, result.details];
}

function openPlain(url: string, options = {}): EchoClient {
  const plain = new EchoClient(url, credentials.createInsecure(), options);
  onTestFinished(() => plain.close());
  return plain;
}

const callPlain = async (plain: EchoClient, options: Parameters<EchoClient['unary']>[1]): Promise<void> => {
  const { error } = await plain.unary({}, { method: 'UnsafeUnary', ...options });
  if (error !== undefined) throw error;
};

const callOurs = (client: ResilientGrpcClient, options: GrpcCallOptions): Promise<unknown> =>
  firstValueFrom(client.getService<EchoService>('Echo').unsafeUnary({}, options));

const authorization = (value: string): Metadata => {
  const metadata = new Metadata();
  metadata.set('authorization', value);
  return metadata;
};

const generating = (error: Error | null, metadata = authorization('Bearer t')): CallCredentials =>
  credentials.createFromMetadataGenerator((_, callback) =>
    setImmediate(() => callback(error, error === null ? metadata : undefined)),
  );

describe.each([
  ['without interceptors', []],
  ['with an interceptor', [passing]],
])('call credentials of a call %s', (_, interceptors) => {
  it.each<[string, () => GrpcCallOptions & { readonly metadata?: Metadata }]>([
    ['respond', () => ({ credentials: generating(null) })],
    ['add to other metadata', () => ({ credentials: generating(null), metadata: new Metadata() })],
    ['repeat a value of the metadata', () => ({ credentials: generating(null), metadata: authorization('Basic u') })],
    ['fail without a code', () => ({ credentials: generating(new Error('no token')) })],
    ['fail with UNAUTHENTICATED', () => ({ credentials: generating(Object.assign(new Error('no'), { code: 16 })) })],
    ['fail with NOT_FOUND', () => ({ credentials: generating(Object.assign(new Error('no'), { code: 5 })) })],
  ])('end and arrive as with grpc-js if they %s', async (_how, optionsOf) => {
    const { client, server } = await scene();
    const outcomes = [
      await outcomeOf(callPlain(openPlain(server.url), { ...optionsOf(), interceptors })),
      await outcomeOf(callOurs(client, { ...optionsOf(), interceptors })),
    ];
    expect(outcomes[1]).toEqual(outcomes[0]);
    const arrived = server.calls().map(({ metadata }) => metadata.get('authorization'));
    expect(arrived).toEqual(outcomes[0] === 'ok' ? [['Bearer t'], ['Bearer t']] : []);
  });
});

/** Holds the calls of an interceptor before they start. */
function createGate(waitForReady: boolean) {
  const waiting: (() => void)[] = [];
  const interceptor: Interceptor = (options, next) =>
    new InterceptingCall(next(options), {
      start: (metadata, listener, start) => {
        metadata.setOptions({ waitForReady });
        waiting.push(() => start(metadata, listener));
      },
    });
  const open = (): void => {
    for (const start of waiting.splice(0)) start();
  };
  return { waiting, interceptor, open };
}

describe('call that an interceptor starts while there is no connection', () => {
  /**
   * Starts a call on a READY connection with each client, holds both in an interceptor, and resets the connections.
   *
   * @param warm true if the clients try to connect again, in vain
   */
  async function holdCalls(warm: boolean, waitForReady = false, options: GrpcCallOptions = {}) {
    const { server, proxy, client } = await startBehindProxy({
      connections: { warm },
      channelOptions: { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 200 },
    });
    const plain = openPlain(proxy.url);
    await callPlain(plain, {});
    await callOurs(client, {});
    const before = server.counts().calls;
    const gate = createGate(waitForReady);
    const interceptors = [gate.interceptor];
    const abort = new AbortController();
    const outcomes = [
      outcomeOf(callPlain(plain, { deadline: Date.now() + 25_000, interceptors })),
      outcomeOf(callOurs(client, { waitForReady: false, signal: abort.signal, ...options, interceptors })),
    ] as const;
    await waitFor(() => gate.waiting.length === 2);
    const calls = () => server.counts().calls - before;
    const lose = async (): Promise<void> => {
      if (warm) proxy.refuse();
      proxy.resetAll();
      await waitFor(() => client.connectivity.state !== 'READY' && plain.state !== 2);
      if (!warm) return;
      plain.client.getChannel().getConnectivityState(true);
      await waitFor(() => client.connectivity.state === 'TRANSIENT_FAILURE' && plain.state === 3);
    };
    await lose();
    return { client, proxy, gate, outcomes, calls, abort };
  }

  it('waits for the connection, as with grpc-js, if the channel is IDLE', async () => {
    const { gate, outcomes, calls } = await holdCalls(false);
    gate.open();
    expect(await Promise.all(outcomes)).toEqual(['ok', 'ok']);
    expect(calls()).toBe(2);
  });

  it('fails with the same code as with grpc-js if no connection can be established, unless it waits for ready', async () => {
    const failing = await holdCalls(true);
    failing.gate.open();
    const [plain, ours] = await Promise.all(failing.outcomes);
    expect(plain).toEqual([14, expect.stringContaining('No connection established') as string]);
    expect(ours[0]).toBe(14);
    expect(failing.calls()).toBe(0);
    const waiting = await holdCalls(true, true);
    waiting.gate.open();
    await turns();
    await waiting.proxy.forward();
    expect(await Promise.all(waiting.outcomes)).toEqual(['ok', 'ok']);
  });

  it.each<[string, GrpcCallOptions, (held: Awaited<ReturnType<typeof holdCalls>>) => void, number]>([
    ['it is cancelled', {}, ({ abort }) => abort.abort(), 1],
    ['its deadline passes', { timeoutMs: 2_000 }, () => undefined, 4],
  ])('is never sent if %s while it waits', async (_, options, end, code) => {
    const held = await holdCalls(true, true, options);
    held.gate.open();
    await turns();
    end(held);
    const [plain, ours] = held.outcomes;
    expect((await ours)[0]).toBe(code);
    await held.proxy.forward();
    expect(await plain).toBe('ok');
    await waitFor(() => held.client.connectivity.state === 'READY');
    await turns();
    expect(held.calls()).toBe(1);
  });
});
