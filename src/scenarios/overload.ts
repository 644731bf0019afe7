import { setTimeout as delay } from 'node:timers/promises';
import type { MethodConfig } from 'nestjs-resilient-grpc';
import { epochMs } from '../epoch.js';
import { callScenario } from './call-scenario.js';

// The same words for both: reads may be sent again, whatever an overloaded server says.
const METHOD_CONFIG: readonly MethodConfig[] = [
  {
    name: [{ service: 'orders.v1.Orders', method: 'Get' }],
    retryPolicy: {
      maxAttempts: 4,
      initialBackoff: '0.1s',
      maxBackoff: '2s',
      backoffMultiplier: 2,
      retryableStatusCodes: ['UNAVAILABLE', 'RESOURCE_EXHAUSTED'],
    },
  },
];
// Without it grpc-js sends every failed read four times; with fewer tokens, such as the 10 of the sample in gRFC A6, none a second
// time, as at this rate half of them are gone before the first backoff is over.
const RETRY_THROTTLING = { maxTokens: 100, tokenRatio: 0.1 };

/**
 * The server refuses everything for most of the time, then is well again: nothing can succeed meanwhile, and every retry makes it
 * worse. Ours names no throttle: it has a budget without one.
 */
export const overload = callScenario({
  proxied: false,
  leastSeconds: 4,
  setup: {
    tunedTitle: '+ retryPolicy, retryThrottling',
    tuned: {
      channelOptions: {
        'grpc.service_config': JSON.stringify({ methodConfig: METHOD_CONFIG, retryThrottling: RETRY_THROTTLING }),
      },
    },
    resilient: { serviceConfig: { methodConfig: METHOD_CONFIG } },
  },
  figures: ['failedReads', 'failedWrites', 'attemptsPerCall', 'p50', 'p90', 'p99', 'recovery'],
  async perform({ contest, upstream, seconds, rate, say }) {
    const wellMs = (seconds * 1_000) / 10;
    contest.load.start(rate);
    await delay(wellMs);
    await upstream.workAs({ overloaded: true });
    say('server refuses everything');
    await delay(seconds * 1_000 - 2 * wellMs);
    await upstream.workAs({});
    contest.serverReachable(epochMs());
    say('server is well again');
    await delay(wellMs);
  },
});
