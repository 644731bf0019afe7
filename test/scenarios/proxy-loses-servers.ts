import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { FaultProxy, ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom } from 'rxjs';
import { HAPROXY, RealProxy } from '../guides/proxies/real-proxy.js';
import { ORDERS_PROTO, startOrdersApp } from '../support/orders-app.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario } from './support/scenario.js';

/** Processing times of a write on the server. */
const DELAYS_MS = [1, 20, 100, 500];
/** Number of concurrent writes, divided equally among the delays. */
const CONCURRENT_WRITES = { counts: 8, all: 40 };
const WRITES = { counts: 48, all: 2_000 };
const CUT_INTERVAL_MS = 10;

/** A proxy whose connections to its server are cut repeatedly while the server executes writes. */
export const proxyLosesServers: Scenario = {
  name: 'proxy-loses-servers',
  needs: ['haproxy'],
  promise:
    'If a proxy loses its server during a write and reports the write as refused (HAProxy, REFUSED_STREAM), the write is not executed twice. The call fails, and its error states that the write may have reached the server.',
  bounds: {
    writes: { atLeast: WRITES.counts },
    'writes executed': { atLeast: 1 },
    'writes executed twice': { atMost: 0 },
    'writes failed': { atLeast: 1 },
    'failed writes reported as not executed': { atMost: 0 },
    'writes acknowledged and lost': { atMost: 0 },
  },
  measure: loseServers,
};

async function loseServers(run: Run): Promise<Measured> {
  const executed = new Map<string, number>();
  const server = await ScriptedGrpcServer.start({
    protoPath: ORDERS_PROTO,
    scripts: {
      Create: ({ request }) => {
        const { requestId, quantity } = request as { readonly requestId: string; readonly quantity: number };
        executed.set(requestId, (executed.get(requestId) ?? 0) + 1);
        return { delayMs: quantity, message: { id: requestId } };
      },
    },
  });
  run.onEnd(() => server.close());
  const backend = run.closeAtEnd(await FaultProxy.start(server.url));
  const proxy = run.closeAtEnd(await RealProxy.start(HAPROXY, [backend.port, backend.port]));
  const app = run.closeAtEnd(await startOrdersApp({ url: proxy.url }));

  const succeeded: string[] = [];
  const failures: GrpcCallError[] = [];
  let cuts = 0;
  let writes = 0;
  while (writes < WRITES[run.which] && !run.signal.aborted) {
    let open = CONCURRENT_WRITES[run.which];
    const before = executed.size;
    for (let index = 0; index < CONCURRENT_WRITES[run.which]; index++) {
      const requestId = String(++writes);
      const quantity = DELAYS_MS[index % DELAYS_MS.length] ?? 0;
      lastValueFrom(app.orders.create({ requestId, item: 'tea', quantity }))
        .then(
          () => succeeded.push(requestId),
          // The cast is safe because calls fail only with GrpcCallError.
          (error: unknown) => failures.push(error as GrpcCallError),
        )
        .finally(() => (open -= 1));
    }
    await reach(() => executed.size > before || open === 0);
    // Repeats the cuts until all writes have ended, so that resent writes are also interrupted.
    while (open > 0 && !run.signal.aborted) {
      cuts += backend.resetAll();
      await pass(run, CUT_INTERVAL_MS);
    }
  }
  const denying = failures.filter(({ reachedServer }) => reachedServer === 'no');
  return {
    writes,
    'connections cut': cuts,
    'writes executed': executed.size,
    'writes executed twice': [...executed.values()].filter((times) => times > 1).length,
    'maximum executions of a write': Math.max(...executed.values()),
    'writes failed': failures.length,
    'failed writes reported as not executed': denying.length,
    ...(denying[0] && { 'first such failure': String(denying[0]) }),
    'writes acknowledged and lost': succeeded.filter((requestId) => !executed.has(requestId)).length,
  };
}
