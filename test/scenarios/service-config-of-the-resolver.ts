import { dnsServiceConfig } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';
import { NameServer } from '../support/name-server.js';
import type { OrdersOf } from '../support/orders-app.js';
import { againstEach } from './support/kinds.js';
import { figuresOf, reads, stop } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

/** Returns a TXT record that makes these codes retryable. Without it, none of them is retried, so a retry shows that the record applies. */
const record = (...retryableStatusCodes: readonly string[]): string => {
  const backoff = { initialBackoff: '0.05s', maxBackoff: '0.1s', backoffMultiplier: 1 };
  const retryPolicy = { maxAttempts: 3, ...backoff, retryableStatusCodes };
  const serviceConfig = { methodConfig: [{ name: [{ service: 'orders.v1.Orders' }], retryPolicy }] };
  return `grpc_config=${JSON.stringify([{ serviceConfig }])}`;
};

/** A TXT record is changed, broken, and corrected while a client makes calls. */
export const serviceConfigOfTheResolver: Scenario = {
  name: 'service-config-of-the-resolver',
  promise:
    'A service config from the resolver applies from the start, and each valid change applies to later calls (within 3 s if `refreshMs` is 1,000). An invalid change is ignored: the previous service config stays in effect, and no call fails.',
  bounds: {
    'first service config applied': { atLeast: 1 },
    'time until the change is applied, ms': { atMost: 3_000, timed: true },
    'invalid service config ignored': { atLeast: 1 },
    'time until the corrected service config is applied, ms': { atMost: 3_000, timed: true },
    'reads failed': { atMost: 0 },
  },
  measure: (run) => againstEach(run, (kind) => changes(run, kind)),
};

async function changes(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind);
  const names = run.closeAtEnd(await NameServer.start());
  names.hasRecords = true;
  names.text = record('ABORTED');
  const app = await startClientOf(run, upstream, {
    url: `dns://${names.url}/${upstream.url.replace('127.0.0.1', 'localhost')}`,
    serviceConfig: dnsServiceConfig({ refreshMs: 1_000 }),
  });
  const gets = reads(run, app, 50);
  const first = await isRetried(app, 'ABORTED');
  names.text = record('DATA_LOSS');
  const changedAfterMs = await until(() => isRetried(app, 'DATA_LOSS'));
  names.text =
    'grpc_config=[{"serviceConfig":{"methodConfig":[{"name":[{"service":"orders.v1.Orders"}],"timeout":"soon"}]}}]';
  const { queries } = names;
  await reach(() => names.queries >= queries + 2, { intervalMs: 20 });
  const isStillRetried = await isRetried(app, 'DATA_LOSS');
  names.text = record('ABORTED');
  const correctedAfterMs = await until(
    async () => (await isRetried(app, 'ABORTED')) && !(await isRetried(app, 'DATA_LOSS')),
  );
  await stop(gets);
  return {
    'first service config applied': Number(first),
    'time until the change is applied, ms': changedAfterMs,
    'invalid service config ignored': Number(isStillRetried),
    'time until the corrected service config is applied, ms': correctedAfterMs,
    ...figuresOf(gets, 'reads'),
  };
}

let calls = 0;

/** True if a call succeeds although its first attempt fails with `code`. */
async function isRetried({ orders }: OrdersOf, code: string): Promise<boolean> {
  return firstValueFrom(orders.get({ id: `c${++calls}/${code}/1` })).then(
    () => true,
    () => false,
  );
}

async function until(condition: () => Promise<boolean>): Promise<number> {
  const beganAt = performance.now();
  await reach(condition, { intervalMs: 50 });
  return performance.now() - beganAt;
}
