import { setImmediate as turn } from 'node:timers/promises';
import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import type { Scenario } from './support/scenario.js';

const CALLS = { counts: 2_000, all: 20_000 };
/** Calls started in one turn of the event loop. */
const BATCH_SIZE = 100;
const DOWN_MS = 2_000;
/** Deadline of a call in milliseconds. If only counts are judged, it exceeds the time limit of a run, so a hanging call fails the run. */
const TIMEOUT_MS = { counts: 600_000, all: 15_000 };
/** Capacity of the server in requests per second. */
const PER_SECOND = 3_000;
/** Maximum queueing time on the server; requests beyond it fail with UNAVAILABLE. */
const QUEUE_MS = { counts: 60_000, all: 3_000 };

/** A process starts during an outage of its upstream and makes many calls at once. */
export const coldStartDuringAnOutage: Scenario = {
  name: 'cold-start-during-an-outage',
  promise:
    'A client process with `maxWaitingCalls: 20_000` starts during an outage of 2 s and makes 20,000 calls with deadlines of 15 s. At least 99% of the calls succeed if the server can handle 3,000 calls per second.',
  bounds: {
    calls: { atLeast: 2_000 },
    'calls that waited during the outage': { atLeast: 1_000 },
    'calls failed before their deadline': { atMost: 0 },
    'calls that succeeded, %': { atLeast: 99, timed: true },
  },
  async measure(run) {
    const [kind] = run.kinds;
    if (kind === undefined) throw new Error('run.kinds: expected an upstream kind, got none');
    const upstream = await startUpstream(run, kind, { perSecond: PER_SECOND, queueMs: QUEUE_MS[run.which] });
    const count = CALLS[run.which];
    const { client, orders } = await startClientOf(run, upstream, { ...outageGrace(run), maxWaitingCalls: count });
    await upstream.prepareRestart();
    await upstream.kill();
    const listens = upstream.restartAfter(DOWN_MS);
    const timeoutMs = TIMEOUT_MS[run.which];
    const results: Promise<string | undefined>[] = [];
    for (let number = 0; number < count; number++) {
      const call = firstValueFrom(orders.get({ id: String(number) }, { timeoutMs }));
      results.push(
        call.then(
          () => undefined,
          (error: unknown) => (error as GrpcCallError).reason,
        ),
      );
      if (number % BATCH_SIZE === 0) await turn();
    }
    const waited = client.connectivity.outage === undefined ? 0 : client.snapshot().waiting;
    await listens;
    const reasons = await Promise.all(results);
    const failed = reasons.filter((reason) => reason !== undefined);
    return {
      calls: count,
      'calls that waited during the outage': waited,
      'calls failed before their deadline': failed.filter((reason) => reason !== 'deadline').length,
      'calls that succeeded, %': (100 * (count - failed.length)) / count,
    };
  },
};
