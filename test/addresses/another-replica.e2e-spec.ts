import type { GrpcClientEvent, ServiceConfig } from 'nestjs-resilient-grpc';
import type { Reply, ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import {
  callOnce,
  failureOf,
  startClient,
  startServer,
  toList,
  type ClientSettings,
  type EchoService,
  type EchoStub,
} from '../calls/support.js';

const POLICIES = ['round_robin', 'least_request', 'weighted_round_robin'] as const;

/** Retry budget that is so large that only `maxAttempts` limits retries, although half of all attempts fail. */
const BUDGET = { maxTokens: 1_000, tokenRatio: 1 };
const ECHO = [{ service: 'testing.v1.Echo' }];

const retrying = (maxAttempts: number): { serviceConfig: ServiceConfig } => ({
  serviceConfig: {
    retryThrottling: BUDGET,
    methodConfig: [
      {
        name: ECHO,
        retryPolicy: {
          maxAttempts,
          initialBackoff: '0.001s',
          maxBackoff: '0.001s',
          backoffMultiplier: 1,
          retryableStatusCodes: ['UNAVAILABLE'],
        },
      },
    ],
  },
});

const hedging = (hedgingDelay: string, maxAttempts = 2): { serviceConfig: ServiceConfig } => ({
  serviceConfig: {
    retryThrottling: BUDGET,
    methodConfig: [{ name: ECHO, hedgingPolicy: { maxAttempts, hedgingDelay, nonFatalStatusCodes: ['UNAVAILABLE'] } }],
  },
});

interface Replicas {
  readonly servers: readonly ScriptedGrpcServer[];
  readonly echo: EchoStub;
  readonly events: readonly GrpcClientEvent[];
}

/** Starts `count` replicas and a client, and waits for its connections to all replicas, or to one under pick_first. */
async function startReplicas(
  count: number,
  policy: (typeof POLICIES)[number] | 'pick_first',
  settings: ClientSettings,
): Promise<Replicas> {
  const servers = await Promise.all(Array.from({ length: count }, () => startServer()));
  const url = `ipv4:${servers.map((server) => server.url).join(',')}`;
  const client = await startClient({
    url,
    loadBalancing: policy === 'weighted_round_robin' ? [{ weighted_round_robin: {} }] : policy,
    ...settings,
  });
  const echo = client.getService<EchoService>('Echo');
  const ready = () => client.snapshot().connections.filter(({ state }) => state === 'READY').length;
  while (ready() < (policy === 'pick_first' ? 1 : count)) await firstValueFrom(echo.unary({}));
  const events: GrpcClientEvent[] = [];
  client.events$.subscribe((event) => events.push(event));
  return { servers, echo, events };
}

/** Starts `count` calls in one turn, because sequential attempts would alternate between the replicas anyway. */
const callTogether = (count: number, call: () => Promise<unknown>): Promise<unknown> =>
  Promise.all(Array.from({ length: count }, call));

const busy: Reply = { status: 'UNAVAILABLE', details: 'failing' };
const callsOf = (server: ScriptedGrpcServer, method = 'Unary') =>
  server.calls().filter((call) => call.method === method);
const retriesOf = (server: ScriptedGrpcServer): number =>
  callsOf(server).filter(({ previousAttempts }) => previousAttempts > 0).length;

describe('attempts of one call', () => {
  it.each(POLICIES)(
    'retries on the other replica if one of two fails, so that no call fails (%s)',
    { timeout: 120_000 },
    async (policy) => {
      const { servers, echo } = await startReplicas(2, policy, retrying(2));
      const [unhealthy] = servers as [ScriptedGrpcServer];
      unhealthy.script('Unary', busy);
      let failed = 0;
      for (let round = 0; round < 4; round++) {
        const calls = Array.from({ length: 50 }, () => firstValueFrom(echo.unary({})));
        failed += (await Promise.allSettled(calls)).filter(({ status }) => status === 'rejected').length;
      }
      expect(failed).toBe(0);
      expect(retriesOf(unhealthy)).toBe(0);
      expect(retriesOf(servers[1]!)).toBeGreaterThan(0);
    },
  );

  it.each(POLICIES)('reaches the third replica by the third attempt if two of three fail (%s)', async (policy) => {
    const { servers, echo } = await startReplicas(3, policy, retrying(3));
    for (const unhealthy of servers.slice(0, 2)) unhealthy.script('Unary', busy);
    for (let round = 0; round < 3; round++) await callTogether(20, () => firstValueFrom(echo.unary({})));
    const repeated = servers
      .slice(0, 2)
      .flatMap((unhealthy) => callsOf(unhealthy).filter(({ previousAttempts }) => previousAttempts > 1));
    expect(repeated).toEqual([]);
  });

  it('retries on any replica after all have been tried', async () => {
    const { servers, echo } = await startReplicas(2, 'round_robin', retrying(5));
    for (const unhealthy of servers) unhealthy.script('Unary', busy);
    const error = await failureOf(echo.unary({}));
    expect(error.attempts).toHaveLength(5);
    const peers = error.attempts.map(({ peer }) => peer);
    expect(new Set(peers.slice(0, 2)).size).toBe(2);
    const urls = servers.map(({ url }) => url);
    expect(peers.slice(2).filter((peer) => peer === undefined || !urls.includes(peer))).toEqual([]);
    expect(retriesOf(servers[0]!) + retriesOf(servers[1]!)).toBe(4);
  });

  it('retries on the same replica under pick_first', async () => {
    const { servers, echo } = await startReplicas(2, 'pick_first', retrying(4));
    servers[0]!.script('Unary', busy);
    const error = await failureOf(echo.unary({}));
    expect(new Set(error.attempts.map(({ peer }) => peer)).size).toBe(1);
  });

  it.each(['0s', '0.02s'])(
    'sends a hedge after %s to a replica other than that of the running attempt',
    async (delay) => {
      const { servers, echo } = await startReplicas(2, 'round_robin', hedging(delay));
      const [frozen, healthy] = servers as [ScriptedGrpcServer, ScriptedGrpcServer];
      frozen.script('Unary', { never: true });
      // The hedge budget permits five hedges at the start, so the test makes only four calls.
      const keys = ['0', '1', '2', '3'];
      await Promise.all(keys.map((key) => firstValueFrom(echo.unary({}, { timeoutMs: 60_000, metadata: { key } }))));
      const keysOf = (server: ScriptedGrpcServer): readonly string[] =>
        callsOf(server)
          .flatMap(({ metadata }) => metadata.get('key').map(String))
          .sort();
      // The healthy replica answers each call, and no call reaches a replica twice. If the healthy replica
      // receives a call first but responds slowly, the hedge of this call reaches the frozen replica.
      expect(keysOf(healthy)).toEqual(keys);
      expect(keysOf(frozen)).toEqual(delay === '0s' ? keys : [...new Set(keysOf(frozen))]);
      expect(keysOf(frozen)).not.toEqual([]);
    },
  );

  it('retries calls of all kinds on the other replica', async () => {
    const { servers, echo } = await startReplicas(2, 'round_robin', {
      ...retrying(2),
      methods: { '*': { idempotent: true } },
    });
    const [unhealthy] = servers as [ScriptedGrpcServer];
    for (const method of ['UnsafeUnary', 'ClientStream', 'ServerStream', 'Bidi']) unhealthy.script(method, busy);
    for (const method of ['unsafeUnary', 'clientStream', 'serverStream', 'bidi'] as const) {
      await callTogether(10, () => toList(callOnce(echo, method)));
    }
    expect(unhealthy.calls().filter(({ previousAttempts }) => previousAttempts > 0)).toEqual([]);
  });

  it('adds only the attempt count to the metadata of a retry', async () => {
    const { servers, echo } = await startReplicas(2, 'round_robin', retrying(2));
    const seen: object[] = [];
    for (const server of servers) {
      server.script('Unary', ({ previousAttempts, metadata }) => {
        seen.push(metadata.toJSON());
        return previousAttempts === 0 ? busy : { message: {} };
      });
    }
    await firstValueFrom(echo.unary({}, { metadata: { 'x-key': 'value' } }));
    const [first, second] = seen;
    expect(second).toEqual({ ...first, 'grpc-previous-rpc-attempts': ['1'] });
  });

  it('reports the endpoint of each attempt in the error and in the events', async () => {
    const { servers, echo, events } = await startReplicas(2, 'round_robin', retrying(2));
    for (const unhealthy of servers) unhealthy.script('Unary', busy);
    const error = await failureOf(echo.unary({}));
    const peers = error.attempts.map(({ peer }) => peer);
    expect(peers.toSorted()).toEqual(servers.map(({ url }) => url).toSorted());
    const ends = events.filter((event) => event.type === 'attempt-end');
    expect(ends.map(({ attempt }) => attempt.peer)).toEqual(peers);
  });
});
