import { firstValueFrom } from 'rxjs';
import { isInstalled } from '../support/programs.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';
import type { UpstreamOptions } from './support/upstream.js';

const IN_FLIGHT = 50;
const AGE = { 'grpc.max_connection_age_ms': 1_500, 'grpc.max_connection_age_grace_ms': 200 };

interface End {
  readonly implementation: Exclude<UpstreamKind['implementation'], 'grpc-js'>;
  readonly how: string;
  readonly options: UpstreamOptions;
  /** True if the server gets SIGTERM; otherwise the connection ends at its maximum age. */
  readonly stops: boolean;
}

const ENDS: readonly End[] = [
  { implementation: 'ours', how: 'end of the drain', options: { drainMs: 500 }, stops: true },
  { implementation: 'ours', how: 'maximum connection age', options: { serverOptions: AGE }, stops: false },
  { implementation: 'grpcio', how: 'forced stop', options: { drainMs: 0 }, stops: true },
  { implementation: 'grpcio', how: 'maximum connection age', options: { serverOptions: AGE }, stops: false },
  { implementation: 'grpc-go', how: 'forced stop', options: { drainMs: 0 }, stops: true },
  { implementation: 'grpc-go', how: 'maximum connection age', options: { serverOptions: AGE }, stops: false },
];

/** A server ends all calls on one connection at the same time, with statuses or resets. */
export const cutOffTogether: Scenario = {
  name: 'cut-off-together',
  promise:
    'If a server ends 50 reads on one connection simultaneously (at the end of its drain, at a forced stop, or at the maximum age of the connection), no read fails. All retries together cost the retry budget at most one token per connection.',
  bounds: {
    calls: { atLeast: IN_FLIGHT },
    'calls failed': { atMost: 0 },
    'retries relative to calls in flight, %': { atLeast: 100 },
    // The cost may be less than one token, because the budget gains tokens over time. Reads that start at the maximum age may use two
    // connections, so the figure is per connection.
    'tokens spent per connection': { atLeast: 0.4, atMost: 1 },
  },
  measure: async (run) => {
    const ends = ENDS.filter(({ implementation }) => implementation === 'ours' || isInstalled(implementation));
    const all = await Promise.all(
      ends.map(async (end) =>
        Object.entries(await cutOff(run, end)).map(([figure, value]) => [
          `${figure} @${end.implementation}, ${end.how}`,
          value,
        ]),
      ),
    );
    return Object.fromEntries(all.flat()) as Measured;
  },
};

async function cutOff(run: Run, { implementation, options, stops }: End): Promise<Measured> {
  const upstream = await startUpstream(run, { implementation, security: 'plain' }, options);
  const { client, orders } = await startClientOf(run, upstream, outageGrace(run));
  await firstValueFrom(orders.get({ id: 'first' }));
  const { maxTokens } = client.snapshot().retryBudget;
  let minTokens = maxTokens;
  client.events$.subscribe((event) => {
    // Measured at each failed attempt, because the reads that succeed return tokens.
    if (event.type === 'attempt-end') minTokens = Math.min(minTokens, client.snapshot().retryBudget.tokens);
  });
  if (stops) await upstream.prepareRestart();
  const calls = Array.from({ length: IN_FLIGHT }, (_, index) => firstValueFrom(orders.get({ id: `${index}/NEVER/1` })));
  const settled = Promise.allSettled(calls);
  // First attempts get no response, so that only a retry ends a call.
  await reach(() => upstream.arrived('Get').length > IN_FLIGHT, { intervalMs: 50 });
  if (stops) await upstream.restartAfter(0, 'terminate');
  const failures = (await settled).flatMap((result) => (result.status === 'rejected' ? [String(result.reason)] : []));
  const firstAttempts = upstream
    .arrived('Get')
    .filter(({ key, previousAttempts }) => key !== 'first' && !previousAttempts);
  return {
    calls: IN_FLIGHT,
    'calls failed': failures.length,
    'retries relative to calls in flight, %': (100 * client.snapshot().counters.retried) / IN_FLIGHT,
    'tokens spent per connection': (maxTokens - minTokens) / new Set(firstAttempts.map(({ peer }) => peer)).size,
    ...(failures[0] !== undefined && { 'first failure': failures[0] }),
  };
}
