import { AsyncLocalStorage } from 'node:async_hooks';
import { InterceptingCall, type Interceptor } from '@grpc/grpc-js';
import { ClientProxyFactory, Transport, type ClientGrpc } from '@nestjs/microservices';
import type { ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { FaultProxy, waitFor, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { of, switchMap, type Observable } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ECHO_PROTO } from '../testing/echo-client.js';
import { hedged } from './service-configs.js';
import {
  EACH_METHOD,
  protoName,
  scene,
  startBehindProxy,
  startClient,
  startServer,
  type ClientSettings,
  type EchoService,
  type MethodName,
} from './support.js';

const request = new AsyncLocalStorage<string>();
const CALLERS = ['first', 'second', 'third'] as const;
const OUTCOMES = ['OK', 'NOT_FOUND'] as const;

/** Notifications of one call with their contexts, oldest first. */
type Seen = readonly (readonly ['next' | 'complete' | 'error', string | undefined])[];
const ANSWERED: Seen = [
  ['next', 'caller'],
  ['complete', 'caller'],
];
type Contexts = (string | undefined)[];
type Service = Pick<EchoService, MethodName>;

/** Calls `method` in the context of `caller`, and resolves when the call has ended. */
function seenBy(caller: string, echo: Service, method: MethodName): Promise<Seen> {
  return request.run(caller, () => notificationsOf(callTo(echo, method)));
}

function notificationsOf(call: Observable<unknown>): Promise<Seen> {
  return new Promise((resolve) => {
    const seen: ['next' | 'complete' | 'error', string | undefined][] = [];
    const note = (what: 'next' | 'complete' | 'error') => {
      seen.push([what, request.getStore()]);
      if (what !== 'next') resolve(seen);
    };
    call.subscribe({
      next: () => {
        note('next');
      },
      error: () => {
        note('error');
      },
      complete: () => {
        note('complete');
      },
    });
  });
}

function callTo(echo: Service, method: MethodName): Observable<unknown> {
  const message = { text: 'x', number: 2 };
  return method === 'clientStream' || method === 'bidi' ? echo[method](of(message)) : echo[method](message);
}

/** Makes a call in the context of each of `CALLERS`. */
function all(echo: Service, method: MethodName): Promise<(readonly [string, Seen])[]> {
  return Promise.all(CALLERS.map(async (caller) => [caller, await seenBy(caller, echo, method)] as const));
}

const contextsOf = (seen: Seen) => seen.map(([, context]) => context);
const sorted = (contexts: readonly (string | undefined)[]) => [...contexts].sort();

/** Opens the connection of `echo` with a call in the context of another request. */
async function warmUp(echo: Service): Promise<void> {
  await seenBy('opener', echo, 'unsafeUnary');
}

/** Nest's own client, which is closed at the end of the test. */
function plainEcho({ url }: ScriptedGrpcServer, interceptors: Interceptor[] = []): Service {
  const client = ClientProxyFactory.create({
    transport: Transport.GRPC,
    options: { url, package: 'testing.v1', protoPath: ECHO_PROTO, channelOptions: { interceptors } },
  }) as unknown as ClientGrpc & { close(): void };
  onTestFinished(() => {
    client.close();
  });
  return client.getService<EchoService>('Echo');
}

/** Starts a server, and a proxy that forwards to it. */
async function backend() {
  const server = await startServer();
  const proxy = await FaultProxy.start(server.url);
  onTestFinished(() => proxy.close());
  return { server, proxy };
}

/** An interceptor of grpc-js that adds the context in which it runs to `seen`. */
function contextInterceptor(seen: Contexts): Interceptor {
  return (options, next) =>
    new InterceptingCall(next(options), {
      start(metadata, listener, start) {
        seen.push(request.getStore());
        start(metadata, listener);
      },
    });
}

/** Client settings with one callback that runs for each attempt, and adds the context in which it runs to `seen`. */
const PER_ATTEMPT: readonly (readonly [string, (seen: Contexts) => ClientSettings])[] = [
  ['interceptors of grpc-js', (seen) => ({ channelOptions: { interceptors: [contextInterceptor(seen)] } })],
  ['onAttempt', (seen) => ({ interceptors: [{ onAttempt: () => void seen.push(request.getStore()) }] })],
  [
    'onAttempt after a promise',
    (seen) => ({
      interceptors: [
        {
          async onAttempt() {
            await Promise.resolve();
            seen.push(request.getStore());
          },
        },
      ],
    }),
  ],
  [
    'the metadata function',
    (seen) => ({
      metadata: () => {
        seen.push(request.getStore());
        return {};
      },
    }),
  ],
];

describe('async context of a call', () => {
  it.each(OUTCOMES.flatMap((outcome) => EACH_METHOD.map((method) => [outcome, method] as const)))(
    'delivers the result %s of %s in the context of the caller if the connection is open',
    async (outcome, method) => {
      const { echo, server } = await scene();
      const plain = plainEcho(server);
      await warmUp(echo);
      await warmUp(plain);
      if (outcome !== 'OK') server.script(protoName(method), { status: outcome });
      const seen = await seenBy('caller', echo, method);
      expect(contextsOf(seen)).toEqual(seen.map(() => 'caller'));
      // Nest's client delivers the same notifications. It loses the context of some of them.
      const asPlain = await seenBy('caller', plain, method);
      expect(seen.map(([what]) => what)).toEqual(asPlain.map(([what]) => what));
      if (method === 'unary' || method === 'unsafeUnary') expect(seen).toEqual(asPlain);
    },
  );

  it.each(EACH_METHOD)(
    'delivers each result of %s in the context of its caller if the calls waited for the connection',
    async (method) => {
      const { echo } = await scene();
      for (const [caller, seen] of await all(echo, method)) expect(contextsOf(seen)).toEqual(seen.map(() => caller));
    },
  );

  it('delivers each error in the context of its caller if the calls are refused after the grace period of an outage', async () => {
    const { echo, client, proxy } = await startBehindProxy({ outageGraceMs: 50 });
    await warmUp(echo);
    proxy.refuse();
    proxy.resetAll();
    await waitFor(() => client.connectivity.state !== 'READY');
    for (const [caller, seen] of await all(echo, 'unary')) expect(seen).toEqual([['error', caller]]);
  });

  it('delivers each error in the context of its caller if the calls lose their connection', async () => {
    const { echo, server, proxy } = await startBehindProxy();
    await warmUp(echo);
    server.script('UnsafeUnary', { never: true });
    const ends = all(echo, 'unsafeUnary');
    await waitFor(() => server.counts().open === CALLERS.length);
    proxy.resetAll();
    for (const [caller, seen] of await ends) expect(seen).toEqual([['error', caller]]);
  });

  it.each([
    ['drain()', 'complete', (client: ResilientGrpcClient) => client.drain()],
    ['cancel()', 'error', (client: ResilientGrpcClient) => client.activeCalls().forEach((call) => call.cancel())],
  ] as const)(
    'ends each stream in the context of its caller if %s is called in another context',
    async (_, what, end) => {
      const { echo, server, client } = await scene({ methods: { ServerStream: { onDrain: 'complete' } } });
      await warmUp(echo);
      server.script('ServerStream', { never: true });
      const plain = () => echo.serverStream({});
      const resumed = () => resumable(() => echo.serverStream({}), { cursor: () => 0, seed: 0 });
      const streams = [plain, resumed].flatMap((open) =>
        CALLERS.map((caller) => request.run(caller, () => notificationsOf(open()))),
      );
      await waitFor(() => server.counts().open === streams.length);
      await request.run('elsewhere', () => end(client));
      expect(await Promise.all(streams)).toEqual([...CALLERS, ...CALLERS].map((caller) => [[what, caller]]));
    },
  );

  it('delivers the messages of a resumed stream in the context of its caller', async () => {
    const { echo, server } = await scene();
    await warmUp(echo);
    server.script('ServerStream', [
      { messages: [{ number: 1 }], status: 'UNAVAILABLE' },
      { messages: [{ number: 2 }], status: 'UNAVAILABLE' },
      { messages: [{ number: 3 }] },
    ]);
    const resumed = () => resumable(() => echo.serverStream({}), { cursor: () => 0, seed: 0 });
    const streams = await Promise.all(CALLERS.map((caller) => request.run(caller, () => notificationsOf(resumed()))));
    for (const [index, seen] of streams.entries()) expect(contextsOf(seen)).toEqual(seen.map(() => CALLERS[index]));
    expect(streams.flat().filter(([what]) => what === 'next')).not.toHaveLength(0);
  });

  it.each(['clientStream', 'bidi'] as const)(
    'pulls the requests of %s in the context of the caller',
    async (method) => {
      const { echo } = await scene();
      await warmUp(echo);
      const seen: Contexts = [];
      async function* requests() {
        for (let number = 0; number < 300; number++) {
          seen.push(request.getStore());
          yield { text: 'x'.repeat(1_000), number };
        }
        seen.push(request.getStore());
      }
      await request.run('caller', () => notificationsOf(echo[method](requests())));
      expect(new Set(seen)).toEqual(new Set(['caller']));
    },
  );

  it('subscribes to a call inside switchMap() in the context of the caller', async () => {
    const { echo } = await scene();
    await warmUp(echo);
    const seen = await request.run('caller', () =>
      notificationsOf(echo.unary({}).pipe(switchMap(() => echo.unary({})))),
    );
    expect(seen).toEqual(ANSWERED);
  });

  it('runs interceptors of grpc-js in call order and in the context of each caller, like plain ClientGrpc, if the calls wait for the connection', async () => {
    const seen: Contexts = [];
    const seenByPlain: Contexts = [];
    const { echo, server } = await scene({ channelOptions: { interceptors: [contextInterceptor(seen)] } });
    const plain = plainEcho(server, [contextInterceptor(seenByPlain)]);
    await all(echo, 'unary');
    await all(plain, 'unary');
    expect(seenByPlain).toEqual(CALLERS);
    expect(seen).toEqual(CALLERS);
  });

  it.each(PER_ATTEMPT)(
    'runs %s in the context of each caller if the calls wait for the connection',
    async (_, settings) => {
      const seen: Contexts = [];
      const { echo } = await scene(settings(seen));
      await all(echo, 'unary');
      expect(sorted(seen)).toEqual(sorted(CALLERS));
    },
  );

  it.each(PER_ATTEMPT)(
    'runs %s in the context of each caller if the calls wait during an outage',
    async (_, settings) => {
      const seen: Contexts = [];
      const { echo, client, proxy } = await startBehindProxy({ outageGraceMs: 60_000, ...settings(seen) });
      await warmUp(echo);
      seen.length = 0;
      proxy.refuse();
      proxy.resetAll();
      await waitFor(() => client.connectivity.state !== 'READY');
      const ends = all(echo, 'unary');
      await proxy.forward();
      await ends;
      expect(sorted(seen)).toEqual(sorted(CALLERS));
    },
  );

  it('runs interceptors of grpc-js in the context of each caller if attempts wait for a free stream after onAttempt', async () => {
    const seen: Contexts = [];
    const { echo } = await scene(
      {
        interceptors: [{ onAttempt: () => Promise.resolve() }],
        channelOptions: { interceptors: [contextInterceptor(seen)] },
      },
      { serverOptions: { 'grpc.max_concurrent_streams': 1 } },
    );
    await warmUp(echo);
    seen.length = 0;
    await all(echo, 'unary');
    expect(sorted(seen)).toEqual(sorted(CALLERS));
  });

  it.each(PER_ATTEMPT)('runs %s in the context of the caller on a retry after a failure', async (_, settings) => {
    const seen: Contexts = [];
    const { echo, server } = await scene(settings(seen));
    await warmUp(echo);
    seen.length = 0;
    server.script('Unary', [{ status: 'UNAVAILABLE' }, { message: {} }]);
    expect(await seenBy('caller', echo, 'unary')).toEqual(ANSWERED);
    expect(seen).toEqual(['caller', 'caller']);
  });

  it.each(PER_ATTEMPT)(
    'runs %s in the context of each caller on a retry after the loss of the connection',
    async (_, settings) => {
      const seen: Contexts = [];
      const { echo, server, proxy } = await startBehindProxy(settings(seen));
      await warmUp(echo);
      seen.length = 0;
      server.script('Unary', { never: true });
      const ends = all(echo, 'unary');
      await waitFor(() => server.counts().open === CALLERS.length);
      server.script('Unary', { message: {} });
      proxy.resetAll();
      for (const [caller, end] of await ends) expect(contextsOf(end)).toEqual([caller, caller]);
      expect(sorted(seen)).toEqual(sorted([...CALLERS, ...CALLERS]));
    },
  );

  it.each(PER_ATTEMPT)('runs %s in the context of the caller in each hedged attempt', async (_, settings) => {
    const seen: Contexts = [];
    const { echo, server } = await scene({ ...hedged('0.01s', 2), ...settings(seen) });
    await warmUp(echo);
    seen.length = 0;
    server.script('Unary', [{ never: true }, { message: {} }]);
    expect(await seenBy('caller', echo, 'unary')).toEqual(ANSWERED);
    expect(seen).toEqual(['caller', 'caller']);
  });

  it.each(PER_ATTEMPT)(
    'runs %s in the context of the caller if a hedged attempt replaces an attempt that lost its connection',
    async (_, settings) => {
      const seen: Contexts = [];
      const backends = [await backend(), await backend()];
      const client = await startClient({
        url: `ipv4:${backends.map(({ proxy }) => proxy.url).join(',')}`,
        loadBalancing: 'round_robin',
        ...hedged('60s', 2),
        ...settings(seen),
      });
      const echo = client.getService<EchoService>('Echo');
      await warmUp(echo);
      await waitFor(() => client.snapshot().connections.filter(({ state }) => state === 'READY').length === 2);
      seen.length = 0;
      for (const { server } of backends) server.script('Unary', { never: true });
      const end = seenBy('caller', echo, 'unary');
      const called = await waitFor(() => backends.find(({ server }) => server.counts().open === 1));
      for (const { server } of backends) server.script('Unary', { message: {} });
      called.proxy.resetAll();
      expect(await end).toEqual(ANSWERED);
      expect(seen).toEqual(['caller', 'caller']);
    },
  );
});
