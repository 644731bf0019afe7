import { status } from '@grpc/grpc-js';
import { Gateway } from './support/gateway.js';
import { startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Scenario } from './support/scenario.js';
import type { Upstream } from './support/upstream.js';

const DRAIN_MS = 1_500;
/** Outage grace period of each gateway's upstream client. */
const GRACE_MS = { counts: 1_000, all: 5_000 };
const MIN_RESPONSES = 100;
const MIN_CHECKS = 5;

/**
 * Two gateways call each other while the upstream of both is down: for a minute in a full run, or for a few health checks in a short one.
 */
export const mutuallyDependentGateways: Scenario = {
  name: 'mutually-dependent-gateways',
  promise:
    'Two gateways that call each other stay ready and live while the upstream of both is down for a minute. On SIGTERM, a process exits within its drain timeout (here 1.5 s) plus 0.5 s, even with a hanging request, a relayed feed, and a call in backoff.',
  bounds: {
    'health responses': { atLeast: MIN_RESPONSES },
    'health responses other than 200': { atMost: 0 },
    "dependency checks with a result other than 'only the upstream is down'": { atMost: 0 },
    'recovery time, ms': { atMost: 15_000, timed: true },
    'time from SIGTERM until the process exits, ms': { atMost: DRAIN_MS + 500, timed: true },
    'events relayed': { atLeast: 1 },
  },
  async measure(run) {
    const downMs = run.length === 'short' ? 0 : 60_000;
    const kind = run.kinds.at(-1);
    if (kind === undefined) throw new Error('run.kinds: expected an upstream kind, got none');
    const upstream = await startUpstream(run, kind);
    const gateways = await Promise.all(
      [upstream, upstream].map((one) => Gateway.start(run, one, DRAIN_MS, GRACE_MS[run.which])),
    );
    const [one, other] = gateways as [Gateway, Gateway];
    one.watch(other);
    other.watch(one);
    const all = (path: string) => Promise.all(gateways.map((gateway) => gateway.get(path)));
    const areAll = async (path: string, expected: number) => (await all(path)).every(({ code }) => code === expected);
    // Each gateway calls the upstream on behalf of the other one, so the upstream clients of both gateways are in use.
    await reach(() => areAll('/peer/7', 200));
    await reach(() => areAll('/health/dependencies', 200));

    const followed = gateways.flatMap((gateway) =>
      ['/health/ready', '/health/live'].map((path) => gateway.follow(path)),
    );
    const calls = setInterval(() => void all('/peer/7').catch(() => undefined), 500);
    run.onEnd(() => {
      clearInterval(calls);
    });
    await upstream.kill();
    const killedAt = performance.now();
    await reach(() => areAll('/health/dependencies', 503));
    let [checks, wrongChecks] = [0, 0];
    const answered = () => followed.reduce((sum, one) => sum + one.count, 0);
    const isOver = () => performance.now() - killedAt >= downMs && checks >= MIN_CHECKS && answered() >= MIN_RESPONSES;
    while (!run.signal.aborted && !isOver()) {
      checks += 1;
      for (const { code, body } of await all('/health/dependencies')) {
        const { upstream: dependency, peer, serving } = body.details;
        // Only the upstream is down; the other gateway stays up although it has also lost the upstream.
        if ([code, dependency.status, peer.status, serving.status].join() !== '503,down,up,up') wrongChecks += 1;
      }
      await pass(run, run.length === 'short' ? 200 : 500);
    }
    const downSeconds = (performance.now() - killedAt) / 1_000;
    await upstream.restartAfter(0);
    const restartedAt = performance.now();
    await reach(() => areAll('/health/dependencies', 200));
    await reach(() => areAll('/peer/7', 200));
    const recoveredMs = performance.now() - restartedAt;
    clearInterval(calls);
    const answers = await Promise.all(followed.map(({ stop }) => stop()));
    const ends = await Promise.all(gateways.map((gateway, index) => end(gateway, upstream, index)));
    return {
      seconds: downSeconds,
      'health responses': answers.reduce((sum, { count }) => sum + count, 0),
      'health responses other than 200': answers.reduce((sum, { others }) => sum + others.length, 0),
      "dependency checks with a result other than 'only the upstream is down'": wrongChecks,
      'recovery time, ms': recoveredMs,
      'time from SIGTERM until the process exits, ms': Math.max(...ends.map(({ exitMs }) => exitMs)),
      'events relayed': Math.min(...ends.map(({ events }) => events)),
    };
  },
};

/** Sends SIGTERM while the gateway serves a request with a hanging call, a request with a call in backoff, and the feed. */
async function end(
  gateway: Gateway,
  upstream: Upstream,
  number: number,
): Promise<{ readonly exitMs: number; readonly events: number }> {
  const hanging = `hangs${number}/NEVER`;
  const answers = [hanging, `waits${number}/ABORTED`].map((id) =>
    gateway.open(`/orders/${encodeURIComponent(id)}`).catch(() => undefined),
  );
  let events = 0;
  const feed = gateway.open('/feed').then(async ({ body }) => {
    for await (const _chunk of body ?? []) events += 1;
  });
  await reach(() => events > 0, { describe: 'an event of the feed' });
  await reach(() => gateway.isWaitingToRetry(status.ABORTED), { describe: 'a call in backoff' });
  await reach(() => upstream.arrived('Get').some(({ key }) => key === hanging), { describe: 'the hanging request' });
  const exitMs = await gateway.terminate();
  await Promise.all([...answers, feed.catch(() => undefined)]);
  return { exitMs, events };
}
