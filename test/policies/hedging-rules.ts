import type { ServiceConfig } from 'nestjs-resilient-grpc';
import { waitFor, type Reply } from 'nestjs-resilient-grpc/testing';
import { UNAVAILABLE, counted, pause, type Rule } from './rules.js';

const OK: Reply = { message: { number: 1 } };
const SILENT: Reply = { hold: 'everything' };

function hedging(hedgingDelay: string | undefined, rest: Omit<ServiceConfig, 'methodConfig'> = {}): ServiceConfig {
  const hedgingPolicy = { maxAttempts: 3, hedgingDelay, nonFatalStatusCodes: ['UNAVAILABLE'] };
  return { methodConfig: [{ name: [{}], hedgingPolicy }], ...rest };
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
      await waitFor(() => server.counts().calls > 0);
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
      await pause(100);
      return `${status}, ${server.release()} run on`;
    },
    right: 'OK, 0 run on',
  },
  {
    rule: 'hedges: a non-fatal code sends the next at once',
    from: 'A6',
    config: hedging('10s'),
    async observe({ server, client }) {
      server.script('Unary', [UNAVAILABLE, OK]);
      const { status, ms } = await client.unary().ended;
      return `${status}, ${ms < 500 ? 'at once' : 'after the delay'}`;
    },
    right: 'OK, at once',
  },
  {
    rule: 'hedges: a fatal code ends the call and all its attempts',
    from: 'A6',
    config: hedging('0.05s'),
    async observe({ server, client }) {
      server.script('Unary', [SILENT, { status: 'INVALID_ARGUMENT' }]);
      const { status } = await client.unary().ended;
      await pause(100);
      return `${status}, ${server.release()} run on`;
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
    config: hedging('0.1s'),
    async observe({ server, client }) {
      server.script('Unary', { ...OK, headers: true, hold: 'messages' });
      const call = client.unary();
      await waitFor(() => server.heldCount() === 1);
      await pause(250);
      server.release();
      await call.ended;
      return counted(server.counts().calls);
    },
    right: '1 attempt',
  },
  {
    rule: 'hedges: a throttle that is half empty refuses them, and lets the first attempt through',
    from: 'A6',
    config: hedging('0.02s', { retryThrottling: { maxTokens: 2, tokenRatio: 0.1 } }),
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
    config: hedging('0.05s'),
    async observe({ server, client }) {
      server.script('Unary', [
        { ...OK, delayMs: 400 },
        { ...UNAVAILABLE, pushback: -1 },
      ]);
      const { status } = await client.unary().ended;
      return `${status}, ${counted(server.counts().calls)}`;
    },
    right: 'OK, 2 attempts',
    grpcJs: 'UNAVAILABLE, 2 attempts',
  },
  {
    rule: 'hedges: after a pushback of 300 ms the next goes out then, not sooner',
    from: 'A6',
    config: hedging('0.1s'),
    async observe({ server, client }) {
      server.script('Unary', [SILENT, { ...UNAVAILABLE, pushback: 300 }, OK]);
      await client.unary().ended;
      const [, second, third] = server.calls();
      return third!.at - second!.at >= 295 ? 'then' : 'sooner';
    },
    right: 'then',
    grpcJs: 'sooner',
  },
];
