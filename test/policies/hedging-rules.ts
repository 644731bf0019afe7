import type { ServiceConfig } from 'nestjs-resilient-grpc';
import { waitFor, type Reply, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { UNAVAILABLE, arrived, counted, pause, type Rule } from './rules.js';

const OK: Reply = { message: { number: 1 } };
const SILENT: Reply = { hold: 'everything' };

function hedging(hedgingDelay: string | undefined, rest: Omit<ServiceConfig, 'methodConfig'> = {}): ServiceConfig {
  const hedgingPolicy = { maxAttempts: 3, hedgingDelay, nonFatalStatusCodes: ['UNAVAILABLE'] };
  return { methodConfig: [{ name: [{}], hedgingPolicy }], ...rest };
}

/** Attempts that the server still serves although their call has ended. */
async function runOn(server: ScriptedGrpcServer): Promise<number> {
  await waitFor(() => server.heldCount() === 0).catch(() => undefined);
  return server.release();
}

/** Rules of gRFC A6 for hedged calls. */
export const HEDGING_RULES: readonly Rule[] = [
  {
    rule: 'hedges: without a delay all attempts go out at once',
    from: 'A6',
    config: hedging(undefined),
    async observe({ server, client }) {
      server.script('Unary', SILENT);
      const call = client.unary();
      await waitFor(() => server.counts().calls >= 3, { timeoutMs: 20_000 });
      await pause(100);
      call.cancel();
      return counted(server.counts().calls);
    },
    right: '3 attempts',
  },
  {
    rule: 'hedges: the next goes out when its delay has passed, and is told how many there were',
    from: 'A6',
    config: hedging('0.1s'),
    async observe({ server, client }) {
      server.script('Unary', [SILENT, SILENT, OK]);
      const { status } = await client.unary().ended;
      const told = server.calls().map(({ metadata }) => metadata.get('grpc-previous-rpc-attempts').join() || 'absent');
      return `${status}; ${told.join(', ')}`;
    },
    right: 'OK; absent, 1, 2',
  },
  {
    rule: 'hedges: the first that succeeds ends the others at the server',
    from: 'A6',
    config: hedging('0.05s'),
    async observe({ server, client }) {
      server.script('Unary', [SILENT, OK]);
      const { status } = await client.unary().ended;
      return `${status}, ${await runOn(server)} run on`;
    },
    right: 'OK, 0 run on',
  },
  {
    rule: 'hedges: a non-fatal code sends the next at once',
    from: 'A6',
    // Longer than the deadline of the call.
    config: hedging('60s'),
    async observe({ server, client, record }) {
      server.script('Unary', [UNAVAILABLE, OK]);
      const { status, ms } = await client.unary().ended;
      record('call whose first attempt fails is answered by its hedge after, ms', ms, 500);
      return `${status}, ${ms < 60_000 ? 'at once' : 'after the delay'}`;
    },
    right: 'OK, at once',
    timed: true,
  },
  {
    rule: 'hedges: a fatal code ends the call and all its attempts',
    from: 'A6',
    config: hedging('0.05s'),
    async observe({ server, client }) {
      server.script('Unary', [SILENT, { status: 'INVALID_ARGUMENT' }]);
      const { status } = await client.unary().ended;
      return `${status}, ${await runOn(server)} run on`;
    },
    right: 'INVALID_ARGUMENT, 0 run on',
  },
  {
    rule: 'hedges: when all have failed the failure is passed on, with no retry on top',
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
    rule: 'hedges: response headers commit, and no further one is sent',
    from: 'A6',
    config: hedging('0.2s'),
    async observe({ server, client }) {
      server.script('Unary', { ...OK, headers: true, hold: 'messages' });
      for (;;) {
        const before = server.counts('Unary').calls;
        const beganAt = performance.now();
        const call = client.unary();
        await waitFor(() => server.heldCount() > 0);
        await arrived(client);
        // The client has read the headers by now: before the delay has passed, or the call is made once more.
        const isInTime = performance.now() - beganAt < 190;
        if (isInTime) await pause(350);
        server.release();
        const calls = server.counts('Unary').calls - before;
        await call.ended;
        if (isInTime) return counted(calls);
      }
    },
    right: '1 attempt',
  },
  {
    rule: 'hedges: a throttle that is half empty refuses them, and lets the first attempt through',
    from: 'A6',
    // Only a failure sends the next: an attempt that a busy machine sends before the first one's failure costs no token.
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
    rule: 'hedges: after a negative pushback no further one is sent, and those in flight go on',
    from: 'A6',
    config: hedging('0.2s'),
    async observe({ server, client }) {
      for (;;) {
        await waitFor(() => server.counts().open === 0);
        server.reset();
        server.script('Unary', [
          { ...OK, hold: 'everything' },
          { ...UNAVAILABLE, pushback: -1 },
        ]);
        const beganAt = performance.now();
        const call = client.unary();
        await waitFor(() => server.counts('Unary').calls >= 2);
        await arrived(client);
        // The client has read the pushback by now: before the third attempt is due, or the call is made once more.
        const isInTime = performance.now() - beganAt < 2 * 190;
        if (isInTime) await pause(350);
        server.release();
        const { status } = await call.ended;
        if (isInTime) return `${status}, ${counted(server.counts('Unary').calls)}`;
      }
    },
    right: 'OK, 2 attempts',
    grpcJs: 'UNAVAILABLE, 2 attempts',
  },
  {
    rule: 'hedges: after a pushback of 300 ms the next goes out then, not sooner',
    from: 'A6',
    config: hedging('0.2s'),
    async observe({ server, client }) {
      for (let seen = 0; seen < 3;) {
        await waitFor(() => server.counts().open === 0);
        server.reset();
        server.script('Unary', [SILENT, { ...UNAVAILABLE, pushback: 300 }, OK]);
        const beganAt = performance.now();
        const call = client.unary();
        await waitFor(() => server.counts('Unary').calls >= 2);
        await arrived(client);
        // The client has read the pushback by now: before the third attempt is due by its delay, or the call is made once more.
        const isInTime = performance.now() - beganAt < 2 * 190;
        await call.ended;
        if (!isInTime) continue;
        const [, second, third] = server.calls('Unary');
        if (third!.at - second!.at < 295) return 'sooner';
        // A busy machine may send an attempt late that was due sooner: only several times make it sure.
        seen += 1;
      }
      return 'then';
    },
    right: 'then',
    grpcJs: 'sooner',
  },
];
