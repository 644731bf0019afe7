import { Metadata } from '@grpc/grpc-js';
import { ClientGrpcProxy } from '@nestjs/microservices';
import { NestFactory } from '@nestjs/core';
import { ResilientGrpcModule, getGrpcServiceToken, type Resilient } from 'nestjs-resilient-grpc';
import { FaultProxy, Http2FaultProxy, ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, type Observable } from 'rxjs';
import type { OrdersClient } from '../../src/gen/orders.pb.js';

const CONTRACT = { protoPath: 'protos/orders.proto', package: 'orders.v1' };
const ORDER = { requestId: 'r-1', item: 'tea', quantity: 1 };

/** Error messages of Nest's own client and of ours in the same situation. */
export interface Failures {
  readonly plain: string;
  readonly ours: string;
}

/** The server of a call and the proxies in front of it. */
interface Scene {
  readonly server: ScriptedGrpcServer;
  readonly proxy: FaultProxy;
  readonly http2: Http2FaultProxy;
}

/** Deadline that ends a call. Long enough for the call to reach the server first, even on a busy machine. */
const DEADLINE_MS = 3_000;

/** The fault of each situation, injected before the call or while the server handles it. */
const SITUATIONS = {
  'no server listens': { through: 'proxy', before: ({ proxy }) => proxy.refuse() },
  'the connection is closed': { through: 'proxy', during: ({ proxy }) => proxy.closeAll() },
  'the connection is reset': { through: 'proxy', during: ({ proxy }) => proxy.resetAll() },
  'a server is stopped by force': { through: 'proxy', during: ({ server }) => server.stop('force') },
  'the server does not answer': { through: 'proxy', timeoutMs: DEADLINE_MS },
  'the server never starts HTTP/2': {
    through: 'proxy',
    before: ({ proxy }) => proxy.staySilent(),
    timeoutMs: DEADLINE_MS,
  },
  'RST_STREAM 0': reset('NO_ERROR'),
  'RST_STREAM 1': reset('PROTOCOL_ERROR'),
  'RST_STREAM 2': reset('INTERNAL_ERROR'),
  'RST_STREAM 7': reset('REFUSED_STREAM'),
  'RST_STREAM 11': reset('ENHANCE_YOUR_CALM'),
  'the server sends too_many_pings': {
    through: 'http2',
    during: ({ http2 }) => http2.goaway({ code: 'ENHANCE_YOUR_CALM', debugData: 'too_many_pings' }),
  },
} satisfies Record<string, Situation>;

export type SituationName = keyof typeof SITUATIONS;

interface Situation {
  readonly through: 'proxy' | 'http2';
  /** Deadline of the call. By default it is too long to end the call. */
  readonly timeoutMs?: number;
  readonly before?: (scene: Scene) => unknown;
  readonly during?: (scene: Scene) => unknown;
}

function reset(
  code: 'NO_ERROR' | 'PROTOCOL_ERROR' | 'INTERNAL_ERROR' | 'REFUSED_STREAM' | 'ENHANCE_YOUR_CALM',
): Situation {
  const fault = { kind: 'reset', code, at: { afterRequests: 1 } } as const;
  return { through: 'http2', before: ({ http2 }) => http2.failCalls(fault, { times: Infinity }) };
}

/** Runs a situation for a call that is not safe to repeat, with Nest's client and with ours. */
export async function failuresOf(name: SituationName): Promise<Failures> {
  const [plain, ours] = await Promise.all(
    [plainOrders, ourOrders].map((connect) => runSituation(SITUATIONS[name], connect)),
  );
  // Both results exist, because there is one per client.
  return { plain: plain!, ours: ours! };
}

interface Orders {
  create(timeoutMs: number): Promise<unknown>;
  close(): unknown;
}

async function runSituation(
  { through, before, during, timeoutMs = 60_000 }: Situation,
  connect: (url: string) => Promise<Orders>,
) {
  const server = await ScriptedGrpcServer.start({ ...CONTRACT, scripts: { Create: {} } });
  const [proxy, http2] = [await FaultProxy.start(server.url), await Http2FaultProxy.start(server.url)];
  const scene = { server, proxy, http2 };
  const orders = await connect(scene[through].url);
  try {
    if (before === undefined || through === 'http2') await orders.create(60_000);
    server.script('Create', { never: true });
    await before?.(scene);
    const failure = orders.create(timeoutMs).then(
      () => 'no failure',
      (error: unknown) => (error as Error).message,
    );
    if (during !== undefined) {
      await waitFor(() => server.counts('Create').open === 1, { timeoutMs: 60_000 });
      await during(scene);
    }
    return await failure;
  } finally {
    await orders.close();
    await Promise.all([proxy.close(), http2.close()]);
    await server.close();
  }
}

async function plainOrders(url: string): Promise<Orders> {
  const client = new ClientGrpcProxy({ url, ...CONTRACT });
  const orders = client.getService<{ create(...args: unknown[]): Observable<unknown> }>('Orders');
  return {
    create: (timeoutMs) => lastValueFrom(orders.create(ORDER, new Metadata(), { deadline: Date.now() + timeoutMs })),
    close: () => client.close(),
  };
}

async function ourOrders(url: string): Promise<Orders> {
  class AppModule {}
  const imports = [ResilientGrpcModule.forFeature([{ name: 'orders', url, outageGraceMs: 300, ...CONTRACT }])];
  const app = await NestFactory.createApplicationContext({ module: AppModule, imports }, { logger: false });
  const orders = app.get<Resilient<OrdersClient>>(getGrpcServiceToken('orders', 'Orders'), { strict: false });
  return {
    create: (timeoutMs) => lastValueFrom(orders.create(ORDER, { timeoutMs })),
    close: () => app.close(),
  };
}
