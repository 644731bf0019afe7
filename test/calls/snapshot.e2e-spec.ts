import type { GrpcClientEvent, ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { waitFor, type Reply, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom, throwError } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { hedged, retrying } from './service-configs.js';
import { EACH_METHOD, callOnce, failureOf, scene, toList } from './support.js';

const UNARY = '/testing.v1.Echo/Unary';
const UNSAFE = '/testing.v1.Echo/UnsafeUnary';

const method = (client: ResilientGrpcClient, path: string) =>
  client.snapshot().methods.find((counted) => counted.path === path);

describe('client snapshot', () => {
  it('serializes a snapshot to JSON before the first call, during calls, and after close()', async () => {
    const { client, echo } = await scene();
    const serializableSnapshot = () => {
      const snapshot = client.snapshot();
      expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot);
      return snapshot;
    };
    expect(serializableSnapshot()).toMatchObject({
      version: 1,
      name: 'echo',
      connectivity: { state: 'IDLE' },
      methods: [],
      connections: [],
      active: 0,
      drain: { state: 'none' },
    });
    const stream = echo.serverStream({ number: 1e6 })[Symbol.asyncIterator]();
    await stream.next();
    const failed = await failureOf(echo.unary({ text: 'x' }, { timeoutMs: 1e-3 }));
    expect(failed.reason).toBe('deadline');
    serializableSnapshot();
    await stream.return?.();
    await client.close();
    expect(serializableSnapshot()).toMatchObject({ connectivity: { state: 'SHUTDOWN' }, drain: { state: 'closed' } });
  });

  it.each(EACH_METHOD)('reports calls, attempts, and latencies of a %s method in the snapshot', async (name) => {
    const { server, client, echo } = await scene();
    const beganAt = performance.now();
    for (let i = 0; i < 3; i++) await toList(callOnce(echo, name));
    const [counted, ...others] = client.snapshot().methods;
    expect(others).toEqual([]);
    expect(counted).toMatchObject({ started: 3, succeeded: 3, failed: 0, cancelled: 0, attempts: 3, retried: 0 });
    expect(counted?.recent).toMatchObject({ ended: 3, failed: 0, codes: {} });
    expect(counted?.attempts).toBe(server.counts().calls);
    const { p50Ms, p99Ms, maxMs } = counted!.latency!;
    expect(p50Ms).toBeGreaterThan(0);
    expect([p50Ms, p99Ms, maxMs]).toEqual([p50Ms, p99Ms, maxMs].sort((a, b) => a - b));
    // The histogram may overstate a duration by up to a sixteenth.
    expect(maxMs).toBeLessThan((performance.now() - beganAt) * (17 / 16));
  });

  it('counts retries, reasons for not retrying, and recent errors in the snapshot', async () => {
    const { server, client, echo } = await scene({ serviceConfig: retrying() });
    server.script('Unary', [{ status: 'UNAVAILABLE' }, { message: {} }]);
    await firstValueFrom(echo.unary({}));
    server.script('Unary', { status: 'UNAVAILABLE', details: `busy ${'x'.repeat(500)}` });
    await failureOf(echo.unary({}));
    server.script('UnsafeUnary', { status: 'NOT_FOUND', details: 'no such thing' });
    for (let i = 0; i < 2; i++) await failureOf(echo.unsafeUnary({}));

    const snapshot = client.snapshot();
    expect(snapshot.counters).toMatchObject({
      started: 4,
      succeeded: 1,
      failed: 3,
      attempts: 7,
      retried: 3,
      hedged: 0,
    });
    expect(snapshot.counters.attempts).toBe(server.counts().calls);
    expect(snapshot.failures).toEqual({ server: 3 });
    expect(snapshot.notRetried).toEqual({ 'attempts-exhausted': 1, 'fatal-status': 2 });
    expect(snapshot.recent).toMatchObject({ ended: 4, failed: 3, codes: { UNAVAILABLE: 1, NOT_FOUND: 2 } });
    expect(method(client, UNARY)).toMatchObject({ codes: { UNAVAILABLE: 1 }, retried: 3 });
    const [first, second, ...more] = snapshot.errors;
    expect(more).toEqual([]);
    expect(first).toMatchObject({ path: UNARY, code: 'UNAVAILABLE', reason: 'server', count: 1, peer: server.url });
    expect(first?.details).toHaveLength(201);
    expect(second).toMatchObject({ path: UNSAFE, code: 'NOT_FOUND', details: 'no such thing', count: 2 });
    expect(snapshot.retryBudget.maxTokens).toBe(10);
    // Three retries cost three tokens; the elapsed time and one success return some.
    expect(snapshot.retryBudget.tokens).toBeGreaterThan(6.5);
    expect(snapshot.retryBudget.tokens).toBeLessThan(8);
  });

  it('counts cancelled calls in `cancelled` of the snapshot, and unstarted calls only in `failures`', async () => {
    const { server, client, echo } = await scene();
    server.script('Unary', { never: true });
    const abandoned = echo.unary({}).subscribe();
    const controller = new AbortController();
    const aborted = failureOf(echo.unary({}, { signal: controller.signal }));
    await waitFor(() => server.counts().open === 2);
    abandoned.unsubscribe();
    controller.abort();
    expect((await aborted).reason).toBe('cancelled');
    const broken = new Error('no more requests');
    await expect(lastValueFrom(echo.clientStream(throwError(() => broken)))).rejects.toBe(broken);
    const { counters, failures, recent } = client.snapshot();
    expect(counters).toMatchObject({ started: 3, cancelled: 2, failed: 1 });
    expect({ failures, ended: recent.ended }).toEqual({ failures: {}, ended: 0 });
    expect(client.snapshot().methods.map(({ cancelled, failed }) => [cancelled, failed])).toEqual([
      [2, 0],
      [0, 1],
    ]);
    await client.drain();
    expect((await failureOf(echo.unary({}))).reason).toBe('closed');
    expect(client.snapshot()).toMatchObject({ counters: { started: 3, failed: 1 }, failures: { closed: 1 } });
  });

  it('counts hedges separately from retries in the snapshot', async () => {
    const { server, client, echo } = await scene(hedged('0.03s', 2));
    server.script('Unary', ({ previousAttempts }: ScriptedCall): Reply =>
      previousAttempts === 0 ? { never: true } : { message: {} },
    );
    await firstValueFrom(echo.unary({}));
    expect(client.snapshot()).toMatchObject({
      counters: { attempts: 2, hedged: 1, retried: 0, succeeded: 1 },
      hedgeBudget: { tokens: 4, maxTokens: 5 },
    });
    await waitFor(() => server.counts().cancelled === 1);
  });

  it('reports waiting calls during an outage, how their waits ended, and the past outage in the snapshot', async () => {
    const { server, client, echo } = await scene();
    const events: GrpcClientEvent[] = [];
    const listening = client.events$.subscribe((event) => events.push(event));
    onTestFinished(() => listening.unsubscribe());
    await firstValueFrom(echo.unary({}));
    expect(client.snapshot().connections).toMatchObject([{ address: server.url, state: 'READY', ended: 0 }]);
    await server.stop('kill-connections');
    await waitFor(() => client.snapshot().connectivity.state !== 'READY');
    const waiting = firstValueFrom(echo.unary({}));
    const abandoned = echo.unary({}).subscribe();
    const refused = failureOf(echo.unary({}, { waitForReady: false }));
    await waitFor(() => client.snapshot().connectivity.outage !== undefined);
    expect(await refused).toMatchObject({ reason: 'outage' });
    // Waits for both durations, because the calls may have started to wait before the outage began.
    const outageMs = () => Date.now() - (client.connectivity.outage?.since.getTime() ?? Infinity);
    await waitFor(() => client.snapshot().oldestWaitMs > 100 && outageMs() > 110);
    expect(client.snapshot()).toMatchObject({ waiting: 2, active: 2, outages: { total: 1, latest: [] } });
    abandoned.unsubscribe();
    expect(client.snapshot()).toMatchObject({ waiting: 1, active: 1 });
    await server.restart();
    await waiting;
    const snapshot = client.snapshot();
    expect(snapshot).toMatchObject({ waiting: 0, oldestWaitMs: 0, waits: { refused: 1, abandoned: 1 } });
    // The first call waited for the first connection.
    expect(snapshot.waits.released).toBe(2);
    await waitFor(() => client.snapshot().connectivity.outage === undefined);
    const [outage, ...others] = client.snapshot().outages.latest;
    expect(others).toEqual([]);
    expect(outage?.durationMs).toBeGreaterThan(100);
    expect(outage).toMatchObject({ waitedCalls: 3, abandonedCalls: 1, failedCalls: 1 });
    expect(outage?.cause).toContain('ECONNREFUSED');
    expect(client.snapshot().connections).toMatchObject([{ address: server.url, state: 'READY', ended: 1 }]);
    const changes = events.flatMap((event) => (event.type === 'connection' ? event.change : []));
    expect(changes[0]).toBe('connected');
    expect(changes[1]).toBe('ended');
    expect(new Set(changes.slice(2, -1))).toEqual(new Set(['failed']));
    expect(changes.at(-1)).toBe('connected');
  });

  it('reports in an event and in the snapshot that the client closed a connection', async () => {
    const { client, echo, server } = await scene({ connections: { idleMs: 1_000 } });
    const changes: string[] = [];
    client.events$.subscribe((event) => {
      if (event.type === 'connection') changes.push(event.change);
    });
    await firstValueFrom(echo.unary({}));
    await waitFor(() => client.connectivity.state === 'IDLE');
    await waitFor(() => client.snapshot().connections[0]?.ended === 1);
    expect(client.snapshot().connections).toMatchObject([{ state: 'IDLE', ended: 1 }]);
    expect(changes).toEqual(['connected', 'closed']);
    await firstValueFrom(echo.unary({}));
    expect(client.snapshot().connections).toMatchObject([{ state: 'READY', ended: 1 }]);
    expect(server.connections.accepted).toBe(2);
    await client.close();
    expect(changes).toEqual(['connected', 'closed', 'connected', 'closed']);
  });

  it('lists streams (oldest first), limits, circuits, and the drain in a snapshot', async () => {
    const { client, echo, server } = await scene({
      maxConcurrentCalls: 2,
      methods: {
        Unary: { circuitBreaker: { minimumThroughput: 2, failureRatio: 0.5 } },
        ServerStream: { maxConcurrentCalls: 5 },
      },
    });
    server.script('Unary', { status: 'UNAVAILABLE' });
    for (let i = 0; i < 2; i++) await failureOf(echo.unary({}, { retry: false }));
    expect(await failureOf(echo.unary({}))).toMatchObject({ reason: 'circuit-open' });
    server.script('ServerStream', { messages: [{ number: 1 }], never: true });
    const streams = [0, 1].map(() => echo.serverStream({})[Symbol.asyncIterator]());
    for (const stream of streams) await stream.next();
    const queued = lastValueFrom(echo.unsafeUnary({})).catch((error: unknown) => error);
    const snapshot = client.snapshot();
    expect(snapshot.streams).toMatchObject({ total: 2, oldest: [{ kind: 'server-stream', received: 1 }, {}] });
    const [older, younger] = snapshot.streams.oldest.map(({ startedAt }) => startedAt);
    expect(older! <= younger!).toBe(true);
    expect(snapshot.circuits).toEqual([{ path: UNARY, state: 'open' }]);
    expect(snapshot.limits).toEqual([
      { path: '/testing.v1.Echo/ServerStream', running: 2, queued: 0, maxConcurrent: 5 },
      { running: 2, queued: 1, maxConcurrent: 2 },
    ]);
    expect(snapshot.failures).toEqual({ server: 2, 'circuit-open': 1 });

    const drained = client.drain({ timeoutMs: 50 });
    expect(client.snapshot().drain).toEqual({ state: 'draining' });
    const report = await drained;
    expect(client.snapshot().drain).toEqual({ state: 'drained', report });
    await queued;
    for (const stream of streams) await stream.return?.().catch(() => undefined);
  });
});
