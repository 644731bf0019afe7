import type { ServiceConfig } from 'nestjs-resilient-grpc';
import { waitFor, type Reply, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { repeatUntil } from '../support/repeat-until.js';
import { HANG_LIMIT, UNAVAILABLE, arrived, counted, pause, type Rule, type Scene } from './rules.js';

const OK: Reply = { message: { number: 1 } };
const SILENT: Reply = { hold: 'everything' };

function hedging(hedgingDelay: string | undefined, rest: Omit<ServiceConfig, 'methodConfig'> = {}): ServiceConfig {
  const hedgingPolicy = { maxAttempts: 3, hedgingDelay, nonFatalStatusCodes: ['UNAVAILABLE'] };
  return { methodConfig: [{ name: [{}], hedgingPolicy }], ...rest };
}

/** Returns the number of attempts that the server still serves although their call has ended. */
async function stillRunning(server: ScriptedGrpcServer): Promise<number> {
  await waitFor(() => server.heldCount() === 0, { timeoutMs: 20_000 }).catch(() => undefined);
  return server.release();
}

/** Resolves after the server has received all calls of `client` and all calls have ended. */
async function allEnded({ server, client }: Pick<Scene, 'server' | 'client'>): Promise<void> {
  await arrived(client);
  await waitFor(() => server.counts().open === 0, HANG_LIMIT);
}

/** Rules of gRFC A6 for hedged calls. */
export const HEDGING_RULES: readonly Rule[] = [
  {
    rule: 'all attempts are sent at once if `hedgingDelay` is not set',
    from: 'A6',
    config: hedging(undefined),
    async observe({ server, client }) {
      server.script('Unary', SILENT);
      const call = client.unary();
      await waitFor(() => server.counts().calls >= 3, HANG_LIMIT);
      await pause(100);
      call.cancel();
      return counted(server.counts().calls);
    },
    right: '3 attempts',
  },
  {
    rule: 'a hedge is sent with its attempt count while earlier attempts are open',
    from: 'A6',
    config: hedging('0.1s'),
    async observe({ server, client }) {
      server.script('Unary', [SILENT, SILENT, OK]);
      const { status } = await client.unary().ended;
      const counts = server
        .calls()
        .map(({ metadata }) => metadata.get('grpc-previous-rpc-attempts').join() || 'absent');
      return `${status}; ${counts.join(', ')}`;
    },
    right: 'OK; absent, 1, 2',
  },
  {
    rule: 'the first success cancels the other attempts at the server',
    from: 'A6',
    config: hedging('0.05s'),
    async observe({ server, client }) {
      server.script('Unary', [SILENT, OK]);
      const { status } = await client.unary().ended;
      return `${status}, ${await stillRunning(server)} running`;
    },
    right: 'OK, 0 running',
  },
  {
    rule: 'a non-fatal status triggers the next hedge at once',
    from: 'A6',
    // The hedging delay is longer than the deadline of the call, so that only the failed attempt can trigger the hedge.
    config: hedging('60s'),
    async observe({ server, client, record }) {
      server.script('Unary', [UNAVAILABLE, OK]);
      const { status, ms } = await client.unary().ended;
      record('time until a call succeeds with a hedge after its first attempt fails, ms', ms, 500);
      return status === 'OK' ? 'OK, at once' : status;
    },
    right: 'OK, at once',
    timed: true,
  },
  {
    rule: 'a fatal status code ends the call and all its attempts',
    from: 'A6',
    config: hedging('0.05s'),
    async observe({ server, client }) {
      server.script('Unary', [SILENT, { status: 'INVALID_ARGUMENT' }]);
      const { status } = await client.unary().ended;
      return `${status}, ${await stillRunning(server)} running`;
    },
    right: 'INVALID_ARGUMENT, 0 running',
  },
  {
    rule: 'the call fails without a retry if all its attempts fail',
    from: 'A6',
    config: hedging('0.05s'),
    async observe({ server, client }) {
      server.script('Unary', UNAVAILABLE);
      const { status } = await client.unary().ended;
      return `${status}, ${counted(server.counts().calls)}`;
    },
    right: 'UNAVAILABLE, 3 attempts',
  },
  {
    rule: 'no hedge is sent after response headers',
    from: 'A6',
    config: hedging('0.2s'),
    async observe({ server, client }) {
      server.script('Unary', { ...OK, headers: true, hold: 'messages' });
      return repeatUntil('the client reads the headers before the hedging delay ends', async () => {
        const before = server.counts('Unary').calls;
        const beganAt = performance.now();
        const call = client.unary();
        await waitFor(() => server.heldCount() > 0, HANG_LIMIT);
        await arrived(client);
        const isInTime = performance.now() - beganAt < 190;
        if (isInTime) await pause(350);
        server.release();
        const calls = server.counts('Unary').calls - before;
        await call.ended;
        await allEnded({ server, client });
        return isInTime && counted(calls);
      });
    },
    right: '1 attempt',
  },
  {
    rule: 'a half-empty throttle stops hedges, not the first attempt',
    from: 'A6',
    // The delay is long, so that only a failure triggers a hedge. The throttle would not stop a hedge that is due before the first failure.
    config: hedging('60s', { retryThrottling: { maxTokens: 2, tokenRatio: 0.1 } }),
    async observe({ server, client }) {
      server.script('Unary', UNAVAILABLE);
      await client.unary().ended;
      const before = server.counts().calls;
      await client.unary().ended;
      return [before, server.counts().calls - before].join(', ');
    },
    right: '1, 1',
    grpcJs: '3, 3',
  },
  {
    rule: 'a negative pushback stops further hedges; open attempts continue',
    from: 'A6',
    config: hedging('0.2s'),
    observe: ({ server, client }) =>
      repeatUntil('the client reads the pushback before the third attempt is due', async () => {
        server.reset();
        server.script('Unary', [
          { ...OK, hold: 'everything' },
          { ...UNAVAILABLE, pushback: -1 },
        ]);
        const beganAt = performance.now();
        const call = client.unary();
        await waitFor(() => server.counts('Unary').calls >= 2, HANG_LIMIT);
        await arrived(client);
        const isInTime = performance.now() - beganAt < 2 * 190;
        if (isInTime) await pause(350);
        server.release();
        const { status } = await call.ended;
        await allEnded({ server, client });
        return isInTime && `${status}, ${counted(server.counts('Unary').calls)}`;
      }),
    right: 'OK, 2 attempts',
    grpcJs: 'UNAVAILABLE, 2 attempts',
  },
  {
    rule: 'a pushback of 300 ms delays the next hedge',
    from: 'A6',
    config: hedging('0.2s'),
    async observe({ server, client }) {
      const gapAfterPushback = () =>
        repeatUntil('the client reads the pushback before the hedging delay of the third attempt ends', async () => {
          server.reset();
          server.script('Unary', [SILENT, { ...UNAVAILABLE, pushback: 300 }, OK]);
          const beganAt = performance.now();
          const call = client.unary();
          await waitFor(() => server.counts('Unary').calls >= 2, HANG_LIMIT);
          await arrived(client);
          const isInTime = performance.now() - beganAt < 2 * 190;
          await call.ended;
          await allEnded({ server, client });
          const [, second, third] = server.calls('Unary');
          return isInTime && third!.at - second!.at;
        });
      // Repeats the measurement, because a busy machine can delay a premature attempt until after 300 ms.
      const gapsMs = [await gapAfterPushback(), await gapAfterPushback(), await gapAfterPushback()];
      return gapsMs.every((ms) => ms >= 295) ? 'after 300 ms' : 'earlier';
    },
    right: 'after 300 ms',
    grpcJs: 'earlier',
  },
];
