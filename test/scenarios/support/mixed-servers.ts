import type { GrpcClientSettings } from 'nestjs-resilient-grpc';
import { Dnsmasq } from '../../support/dnsmasq.js';
import { resolveAt } from '../../support/name-lookup.js';
import { startOrdersApp, type OrdersApp } from '../../support/orders-app.js';
import { outageGrace, startUpstream } from './orders-client.js';
import { reach } from './reach.js';
import type { Run } from './scenario.js';
import type { Upstream, UpstreamOptions } from './upstream.js';

export const MIXED_SERVERS_NEED = ['dnsmasq', 'grpcio', 'grpc-go'] as const;

const IMPLEMENTATIONS = ['grpcio', 'grpc-go', 'grpc-js'] as const;

export type MixedImplementation = (typeof IMPLEMENTATIONS)[number];

/** Servers of three gRPC implementations other than this library. They listen on the same port, but on different loopback addresses. */
export interface MixedServers {
  /** Target whose name resolves to all listed servers: 'dns:///mixed-1.test:port'. */
  readonly url: string;
  readonly all: readonly Upstream[];
  of(implementation: MixedImplementation): Upstream;
  /** Replaces the records of the name in dnsmasq. */
  list(servers: readonly Upstream[]): void;
}

let startedSoFar = 0;

/** Starts one server of each implementation, and a dnsmasq that lists all of them. All are closed at the end of the run. */
export async function startMixedServers(run: Run, options: UpstreamOptions = {}): Promise<MixedServers> {
  const number = ++startedSoFar;
  const start = (index: number, port?: number): Promise<Upstream> =>
    startUpstream(
      run,
      { implementation: IMPLEMENTATIONS[index]!, security: 'plain' },
      { ...options, host: `127.2.${String(number % 200)}.${String(index + 1)}`, ...(port !== undefined && { port }) },
    );
  const first = await start(0);
  const all = [first, ...(await Promise.all([1, 2].map((index) => start(index, first.port))))];
  const name = `mixed-${String(number)}.test`;
  const addresses = (servers: readonly Upstream[]) => servers.map(({ host }) => host);
  const dnsmasq = run.closeAtEnd(await Dnsmasq.start(name, addresses(all)));
  run.onEnd(resolveAt(name, dnsmasq.url));
  return {
    url: `dns:///${name}:${String(first.port)}`,
    all,
    // The cast is safe because there is one server of each implementation.
    of: (implementation) => all[IMPLEMENTATIONS.indexOf(implementation)] as Upstream,
    list: (servers) => {
      dnsmasq.list(addresses(servers));
    },
  };
}

/**
 * Starts a client that balances calls across the listed servers and resolves their name once per second. Waits until the client is
 * connected to all servers.
 */
export async function startMixedClient(
  run: Run,
  servers: MixedServers,
  settings: Partial<GrpcClientSettings> = {},
): Promise<OrdersApp> {
  const { length } = servers.all;
  const app = await startOrdersApp({
    url: servers.url,
    loadBalancing: 'round_robin',
    dnsRefreshMs: 1_000,
    connections: { warm: true },
    ...outageGrace(run),
    ...settings,
  });
  run.onEnd(() => app.close());
  await reach(() => app.client.snapshot().connections.filter(({ state }) => state === 'READY').length === length);
  return app;
}
