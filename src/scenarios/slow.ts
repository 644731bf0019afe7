import { setTimeout as delay } from 'node:timers/promises';
import type { MethodConfig } from 'nestjs-resilient-grpc';
import { callScenario } from './call-scenario.js';

const MEDIAN_MS = 50;
const SLOW_SHARE = 0.015;
const SLOW_FACTOR = 20;

// The service config of the tuned client and of ours. A read without a response after 1.5 times the median is sent a second time.
const METHOD_CONFIG: readonly MethodConfig[] = [
  {
    name: [{ service: 'orders.v1.Orders', method: 'Get' }],
    hedgingPolicy: {
      maxAttempts: 2,
      hedgingDelay: `${(1.5 * MEDIAN_MS) / 1_000}s`,
      nonFatalStatusCodes: ['UNAVAILABLE'],
    },
  },
];

/** The contenders read from a server with tail latency: 1.5% of the responses take 20 times as long as the others. */
export const slow = callScenario({
  proxied: false,
  minSeconds: 3,
  setup: {
    tunedTitle: '+ hedgingPolicy',
    tuned: { channelOptions: { 'grpc.service_config': JSON.stringify({ methodConfig: METHOD_CONFIG }) } },
    resilient: { serviceConfig: { methodConfig: METHOD_CONFIG } },
  },
  figures: ['failedReads', 'attemptsPerCall', 'p50', 'p90', 'p99', 'longestWait'],
  async perform({ comparison, upstream, seconds, rate, report }) {
    await upstream.workAs({ readMs: MEDIAN_MS, slowShare: SLOW_SHARE, slowFactor: SLOW_FACTOR });
    report(`reads take ${MEDIAN_MS} ms, ${SLOW_SHARE * 100}% of them ${MEDIAN_MS * SLOW_FACTOR} ms`);
    comparison.load.start({ reads: rate.reads + rate.writes, writes: 0 });
    await delay(seconds * 1_000);
  },
});
