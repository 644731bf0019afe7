import { Metadata } from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import { GrpcMethod, GrpcStreamCall, GrpcStreamMethod, Payload, RpcException } from '@nestjs/microservices';
import { CallTrailers, type GrpcRequestStream } from 'nestjs-resilient-grpc/server';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { concat, last, map, NEVER, of, type Observable } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { block } from '../support/block.mjs';
import { startDatadog, startNewRelic, startOpenTelemetry, wrapHandlers, type Agent } from './agent-stand-ins.js';
import { collectTelemetry, serveInstrumented } from './collected-telemetry.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const notFound = (): RpcException => new RpcException({ code: 5, message: 'no such order' });
/** Values of the request's `from`, which select what a response stream does. */
const [OK, ERROR, WAIT, UNREAD] = ['1', '2', '3', '4'] as const;
const never = new Promise<never>(() => undefined);

/** True for each handler that ran in the context of a span. */
let contexts: boolean[] = [];
let agent: Agent;

@Controller()
class OrdersController {
  @GrpcMethod('Orders', 'Get')
  async get(@Payload() { id }: { id: string }, @CallTrailers() trailers: Metadata): Promise<object> {
    await Promise.resolve();
    contexts.push(agent.isActive());
    if (id === 'error') throw notFound();
    if (id === 'throw') throw new Error('a defect');
    if (id === 'wait') return never;
    trailers.set('x-cost', '3');
    return { id };
  }

  @GrpcMethod('Orders', 'Watch')
  watch(@Payload() { from }: { from: string }): Observable<object> {
    contexts.push(agent.isActive());
    if (from === ERROR) throw notFound();
    const first = of({ sequence: '1', order: { id: 'x'.repeat(from === UNREAD ? 500_000 : 1) } });
    return from === OK ? first : concat(first, NEVER);
  }

  @GrpcStreamMethod('Orders', 'Upload')
  upload(@Payload() requests: GrpcRequestStream<{ requestId: string }>): Observable<object> {
    contexts.push(agent.isActive());
    const count = ({ requestId }: { requestId: string }) => {
      if (requestId === 'error') throw notFound();
      return { count: 1 };
    };
    return requests.pipe(last(undefined, { requestId: 'none' }), map(count));
  }

  @GrpcStreamCall('Orders', 'Session')
  session(call: any): void {
    contexts.push(agent.isActive());
    call.on('data', () => undefined);
    call.on('end', () => {
      call.end();
    });
  }
}

const AGENTS = { Datadog: startDatadog, 'New Relic': startNewRelic, OpenTelemetry: startOpenTelemetry } as const;
type AgentName = keyof typeof AGENTS;
type Ended = readonly [code: number, message?: string | undefined];

/** Reports of the agents for the end of a call. */
const same = (code: number, message?: string): Record<AgentName, Ended> => ({
  Datadog: [code, message],
  // The agent reads no message.
  'New Relic': [code],
  OpenTelemetry: [code, message],
});

/** Codes of a cancelled call with Nest's own server. */
const CANCELLED: Record<AgentName, Ended> = { Datadog: [1], 'New Relic': [1], OpenTelemetry: [0] };
/** Codes of a call whose deadline passed on the server: OpenTelemetry's would be 0 with Nest's own server. */
const LATE: Record<AgentName, Ended> = {
  Datadog: [1],
  'New Relic': [4],
  OpenTelemetry: [4, 'Deadline exceeded'],
};

/** Metadata with a deadline that only the server enforces. */
function deadline(): Metadata {
  const metadata = new Metadata();
  metadata.set('grpc-timeout', '50m');
  return metadata;
}

const ignore = (): void => undefined;
const watch = (client: any, from: string, metadata = new Metadata()) =>
  client.watch({ from }, metadata).on('error', ignore).resume();
/** Cancels `call` when its handler has started. */
const cancel = (call: any) =>
  waitFor(() => contexts.length > 0).then(() => {
    call.cancel();
  });

type Situation = readonly [
  title: string,
  path: string,
  /** Starts a call. Ends it, if its handler does not. */
  run: (client: any, server: { readonly close: () => Promise<void> }) => unknown,
  ended: Record<AgentName, Ended>,
];

const GET = '/orders.v1.Orders/Get';
const WATCH = '/orders.v1.Orders/Watch';
const UPLOAD = '/orders.v1.Orders/Upload';
const SESSION = '/orders.v1.Orders/Session';

const SITUATIONS: readonly Situation[] = [
  ['unary call that succeeds', GET, (client) => client.get({ id: 'ok' }, ignore), same(0)],
  ['unary call with an error', GET, (client) => client.get({ id: 'error' }, ignore), same(5, 'no such order')],
  ['unary call that throws', GET, (client) => client.get({ id: 'throw' }, ignore), same(2, 'Internal server error')],
  ['unary call that is cancelled', GET, (client) => cancel(client.get({ id: 'wait' }, ignore)), CANCELLED],
  ['unary call that is late', GET, (client) => client.get({ id: 'wait' }, deadline(), ignore), LATE],
  [
    'unary call that the drain cuts off',
    GET,
    async (client, { close }) => {
      client.get({ id: 'wait' }, ignore);
      await waitFor(() => contexts.length > 0);
      await close();
    },
    same(14, 'The server is shutting down'),
  ],
  [
    'call to a method without a handler',
    '/orders.v1.Orders/Create',
    (client) => client.create({}, ignore),
    same(12, 'The server does not implement the method /orders.v1.Orders/Create'),
  ],
  ['response stream that succeeds', WATCH, (client) => watch(client, OK), same(0)],
  ['response stream with an error', WATCH, (client) => watch(client, ERROR), same(5, 'no such order')],
  ['response stream that is cancelled', WATCH, (client) => cancel(watch(client, WAIT)), CANCELLED],
  ['response stream that is late', WATCH, (client) => watch(client, WAIT, deadline()), LATE],
  [
    'response stream that is cancelled before the client has read it',
    WATCH,
    (client) => cancel(client.watch({ from: UNREAD }).on('error', ignore)),
    CANCELLED,
  ],
  [
    'response stream that the drain cuts off',
    WATCH,
    async (client, { close }) => {
      watch(client, WAIT);
      await waitFor(() => contexts.length > 0);
      await close();
    },
    same(14, 'The server is shutting down'),
  ],
  // Datadog reports code 1 for each request stream, with Nest's own server, too.
  ['request stream that succeeds', UPLOAD, (client) => client.upload(ignore).end(), { ...same(0), Datadog: [1] }],
  [
    'request stream with an error',
    UPLOAD,
    (client) => client.upload(ignore).end({ requestId: 'error' }),
    { ...same(5, 'no such order'), Datadog: [1] },
  ],
  ['stream of @GrpcStreamCall that succeeds', SESSION, (client) => client.session().on('error', ignore).end(), same(0)],
  [
    'stream of @GrpcStreamCall that is late',
    SESSION,
    (client) => client.session(deadline()).on('error', ignore).resume(),
    LATE,
  ],
];

const VARIANTS = [
  ['the server', false],
  ['the server with the telemetry module', {}],
] as const;

describe.each(Object.keys(AGENTS) as AgentName[])('%s', (name) => {
  describe.each(VARIANTS)('beside %s', (_variant, telemetry) => {
    async function serve() {
      contexts = [];
      agent = AGENTS[name]();
      const served = await serveInstrumented(OrdersController, { drain: { timeoutMs: 100 } }, telemetry);
      return { ...served, agent };
    }

    // The module changes nothing that depends on how a call ends, so a few situations suffice with it.
    it.each(telemetry === false ? SITUATIONS : SITUATIONS.slice(0, 4))(
      'gets one span for a %s',
      async (_title, path, run, ended) => {
        const { client, agent, close } = await serve();
        await run(client, { close });
        await waitFor(() => agent.spans().some(({ isEnded }) => isEnded));
        await close();
        const [code, message] = ended[name];
        expect(agent.spans()).toMatchObject([{ path, isEnded: true, code, message }]);
        expect(contexts).not.toContain(false);
      },
    );

    it('does not change the trailers of a response', async () => {
      const { client } = await serve();
      const trailers = await new Promise<Metadata>((resolve) =>
        (client as any).get({ id: 'ok' }, ignore).on('status', ({ metadata }: { metadata: Metadata }) => {
          resolve(metadata);
        }),
      );
      expect(trailers.get('x-cost')).toEqual(['3']);
    });
  });
});

describe('the telemetry module', () => {
  const get = async (client: any) => {
    await new Promise((resolve) => {
      client.get({ id: 'ok' }, resolve);
    });
  };

  it('creates the span of a served call if OpenTelemetry does not know the span of the agent', async () => {
    const telemetry = collectTelemetry();
    agent = startDatadog();
    const { client } = await serveInstrumented(OrdersController);
    await get(client);
    const span = await telemetry.span('Recv.orders.v1.Orders.Get');
    expect(span.attributes).toMatchObject({ 'rpc.system': 'grpc', 'rpc.grpc.status_code': 0 });
  });

  it('creates no span if OpenTelemetry knows the span of the agent', async () => {
    const telemetry = collectTelemetry();
    agent = { spans: () => [], isActive: telemetry.isActive };
    wrapHandlers(
      (handler) => (call: unknown, callback: unknown) =>
        telemetry.within('grpc.server', () => Promise.resolve(handler(call, callback))),
    );
    const { client, close } = await serveInstrumented(OrdersController);
    await get(client);
    await close();
    expect(telemetry.spans().map(({ name }) => name)).toEqual(['grpc.server']);
  });
});

/** Time in milliseconds for which each call blocks the server, so that few calls overload it. */
const BUSY_MS = 50;

@Controller()
class BusyController {
  @GrpcMethod('Orders', 'Get')
  get({ id }: { id: string }): object {
    block(BUSY_MS);
    return { id };
  }
}

it('shows an agent the calls that the server refuses during an overload', { timeout: 30_000 }, async () => {
  const agent = startDatadog();
  const { client, server } = await serveInstrumented(BusyController, {}, false);
  const get = () =>
    new Promise((resolve) =>
      (client as any).get({ id: '1' }, { deadline: Date.now() + 1_500 }, () => {
        resolve(undefined);
      }),
    );
  const burst = (count: number) => Promise.all(Array.from({ length: count }, get));
  // The server measures the duration of the method.
  for (let call = 0; call < 12; call++) await get();
  const first = burst(100);
  await waitFor(() => server.overload().since !== undefined, { timeoutMs: 10_000 });
  await burst(50);
  await first;
  // Calls whose deadline has passed for the client end a little later on the server.
  await waitFor(() => agent.spans().every(({ isEnded }) => isEnded));
  const refused = agent.spans().filter(({ code }) => code === 8);
  expect(server.overload().shed).toBeGreaterThan(50);
  expect(refused).toHaveLength(server.overload().shed);
});
