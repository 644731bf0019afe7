import { getEventListeners } from 'node:events';
import { firstValueFrom } from 'rxjs';
import { expect, it } from 'vitest';
import { retrying } from '../calls/service-configs.js';
import { scene } from '../calls/support.js';
import { IS_FULL } from '../support/full-tables.js';

const CALLS = IS_FULL ? 10_000 : 2_000;

// `scene` fails the test if a socket, a timer, or a call on the server stays open.
it(
  'releases all resources after thousands of concurrent calls with a retry policy, timeouts, concurrency limits, and a circuit breaker',
  { timeout: 120_000 },
  async () => {
    const { echo, client, server } = await scene({
      timeoutMs: 100_000,
      maxConcurrentCalls: CALLS,
      metadata: () => Promise.resolve({ 'x-token': 'fresh' }),
      interceptors: [
        {
          onCall: (call) => {
            call.metadata.set('x-trace', '1');
          },
        },
      ],
      methods: { Unary: { attemptTimeoutMs: 90_000, circuitBreaker: {}, maxConcurrentCalls: CALLS } },
      serviceConfig: retrying(),
    });
    const { signal } = new AbortController();
    let succeeded = 0;
    await Promise.all(
      Array.from({ length: CALLS }, async () => {
        await firstValueFrom(echo.unary({ text: 'x' }, { signal }));
        succeeded += 1;
      }),
    );
    expect(succeeded).toBe(CALLS);
    expect(server.counts().calls).toBe(CALLS);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    expect(client.snapshot()).toMatchObject({ active: 0, waiting: 0, counters: { succeeded: CALLS } });
  },
);
