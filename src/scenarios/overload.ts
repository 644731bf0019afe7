import { setTimeout as delay } from 'node:timers/promises';
import type { MethodConfig } from 'nestjs-resilient-grpc';
import { epochMs } from '../epoch.js';
import { callScenario } from './call-scenario.js';

// The method config of the tuned client and of ours. Reads are retried for every status of an overloaded server.
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
// Without throttling, grpc-js sends every failed read up to four times. With fewer tokens, such as the 10 in the sample of gRFC A6, it
// retries no read, because at this rate half of the tokens are used up before the first backoff ends.
const RETRY_THROTTLING = { maxTokens: 100, tokenRatio: 0.1 };

/**
 * The server rejects all calls for most of the run, then recovers. While it rejects calls, no retry can succeed, and every retry adds load.
 * No throttling is configured for our client, because it always has a retry budget.
 */
export const overload = callScenario({
  proxied: false,
  minSeconds: 4,
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
  async perform({ comparison, upstream, seconds, rate, report }) {
    const healthyMs = (seconds * 1_000) / 10;
    comparison.load.start(rate);
    await delay(healthyMs);
    await upstream.workAs({ overloaded: true });
    report('server rejects all calls');
    await delay(seconds * 1_000 - 2 * healthyMs);
    await upstream.workAs({});
    comparison.serverReachable(epochMs());
    report('server has recovered');
    await delay(healthyMs);
  },
});
