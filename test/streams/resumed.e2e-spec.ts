import type { GrpcCallError, GrpcClientEvent } from 'nestjs-resilient-grpc';
import { resumable, type ResumeOptions } from 'nestjs-resilient-grpc/operators';
import { ScriptedGrpcServer, captureLeaks, waitFor, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom, merge } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { recordTiming } from '../support/timing.js';
import type { OrderEvent, WatchRequest } from '../../src/gen/orders.pb.js';
import { ORDERS_PROTO, startOrdersApp, type OrdersApp } from '../support/orders-app.js';

let server: ScriptedGrpcServer;

beforeEach(async ({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  server = await ScriptedGrpcServer.start({
    protoPath: ORDERS_PROTO,
    scripts: { Get: { message: { id: '1' } }, Watch: sendThreeMore },
  });
  onTestFinished(() => server.close());
});

/** Sends the three events after the cursor, then stays silent. */
function sendThreeMore(call: ScriptedCall) {
  const { from } = call.request as WatchRequest;
  return { messages: [1n, 2n, 3n].map((n) => ({ sequence: String(BigInt(from) + n) })), never: true };
}

async function start(settings: object = {}, drain = { timeoutMs: 2_000 }): Promise<OrdersApp> {
  return closedAfterTest(startOrdersApp({ url: server.url, ...settings }, { drain }));
}

const FINISHING = { methods: { Watch: { onDrain: 'finish' } } } as const;
const bySequence = (a: string, b: string): number => Number(BigInt(a) - BigInt(b));

type FeedOptions = Partial<ResumeOptions<OrderEvent, string>> & { readonly call?: object };

interface Feed {
  readonly events: string[];
  end: string;
  error: GrpcCallError | undefined;
  unsubscribe: () => void;
}

/** Subscribes to a resumable feed; records its events and its end. */
function follow({ orders }: OrdersApp, { call, ...options }: FeedOptions = {}) {
  const feed: Feed = { events: [], end: 'open', error: undefined, unsubscribe: () => undefined };
  const stream = resumable((from: string) => orders.watch({ from }, call), {
    cursor: ({ sequence }: OrderEvent) => sequence,
    seed: '0',
    compare: bySequence,
    backoff: SHORT_BACKOFF,
    ...options,
  });
  const subscription = stream.subscribe({
    next: ({ sequence }) => feed.events.push(sequence),
    error: (error: GrpcCallError) => {
      feed.error = error;
      feed.end = `failed: ${error.reason}`;
    },
    complete: () => {
      feed.end = 'completed';
    },
  });
  feed.unsubscribe = () => {
    subscription.unsubscribe();
  };
  onTestFinished(feed.unsubscribe);
  return feed;
}

const SHORT_BACKOFF = { maxAttempts: 1_000, initialBackoffMs: 20, maxBackoffMs: 200 };
/** Backoff longer than any test. */
const LONG_BACKOFF = { maxAttempts: 1_000, initialBackoffMs: 60_000, maxBackoffMs: 60_000 };
const upTo = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index + 1));

describe('resumed stream', () => {
  it('counts a resumed stream once in activeCalls() and in the snapshot, regardless of the number of lost connections', async () => {
    const app = await start();
    const events: GrpcClientEvent[] = [];
    app.client.events$.subscribe((event) => events.push(event));
    const feed = follow(app);
    for (let breaks = 1; breaks <= 3; breaks++) {
      await waitFor(() => feed.events.length === 3 * breaks);
      await server.restart('kill-connections');
    }
    await waitFor(() => feed.events.length === 12);
    expect(feed.events).toEqual(upTo(12));
    expect(app.client.activeCalls()).toMatchObject([
      { path: '/orders.v1.Orders/Watch', resumes: 3, received: 12, waiting: false, peer: server.url },
    ]);
    expect(app.client.snapshot()).toMatchObject({ active: 1, counters: { started: 1, failed: 0, resumed: 3 } });
    expect(events.filter(({ type }) => type === 'stream-resumed')).toMatchObject([
      { path: '/orders.v1.Orders/Watch', resumes: 1 },
      { resumes: 2 },
      { resumes: 3 },
    ]);
    expect(app.lines.filter(({ text }) => text.includes('stream-resumed')).map(({ level }) => level)).toEqual(
      Array(3).fill('debug'),
    );
    feed.unsubscribe();
    expect(app.client.snapshot()).toMatchObject({ active: 0, counters: { started: 1, succeeded: 0, cancelled: 1 } });
    await waitFor(() => server.counts('Watch').open === 0);
  });

  it('counts a lost call as interrupted, not as failed, if its stream resumes', async () => {
    const app = await start();
    const feed = follow(app);
    await waitFor(() => feed.events.length === 3);
    await server.restart('kill-connections');
    await waitFor(() => feed.events.length === 6);
    const { recent, failures, notRetried, errors, methods } = app.client.snapshot();
    expect({ recent, failures, notRetried, errors }).toMatchObject({
      recent: { ended: 0, failed: 0, codes: {} },
      failures: {},
      notRetried: {},
      errors: [],
    });
    expect(methods).toMatchObject([{ started: 2, succeeded: 0, failed: 0, cancelled: 0, interrupted: 1 }]);
  });

  it.each<[string, FeedOptions]>([
    ['reaches its deadline before it resumes', { backoff: LONG_BACKOFF, call: { timeoutMs: 1_000 } }],
    ['ends because onError returns fail', { onError: () => 'fail' }],
  ])('counts a lost stream as failed once if it %s', async (_when, options) => {
    const app = await start();
    const feed = follow(app, options);
    await waitFor(() => feed.events.length === 3);
    await server.restart('kill-connections');
    await waitFor(() => feed.end !== 'open');
    const { counters, recent, methods, errors } = app.client.snapshot();
    expect([counters.failed, recent.failed, methods[0]?.failed]).toEqual([1, 1, 1]);
    // On a busy machine, a second call may start after the deadline. It is rejected, and its error is listed separately.
    expect(new Set(errors.map(({ path, count }) => `${path} ${String(count)}`))).toEqual(
      new Set(['/orders.v1.Orders/Watch 1']),
    );
  });

  it('counts a rejected call as failed, even if its stream resumes', async () => {
    let calls = 0;
    server.script('Watch', (call) => (calls++ === 0 ? { status: 'UNAVAILABLE' } : sendThreeMore(call)));
    const app = await start();
    const feed = follow(app, { call: { retry: false } });
    await waitFor(() => feed.events.length === 3);
    const [watch] = app.client.snapshot().methods;
    expect(watch).toMatchObject({ started: 2, failed: 1, interrupted: 0, codes: { UNAVAILABLE: 1 } });
  });

  it('lists a resumed stream in activeCalls() between two of its calls, and lets its entry cancel the stream', async () => {
    const app = await start();
    const feed = follow(app, { backoff: LONG_BACKOFF });
    await waitFor(() => feed.events.length === 3);
    await server.restart('kill-connections');
    await waitFor(() => app.client.activeCalls()[0]?.waiting);
    const [active] = app.client.activeCalls();
    expect(active).toMatchObject({ resumes: 0, received: 3 });
    active!.cancel('by an operator');
    expect(feed).toMatchObject({
      end: 'failed: cancelled',
      error: { details: 'by an operator', reachedServer: 'yes' },
    });
    expect(app.client.snapshot()).toMatchObject({ active: 0, counters: { started: 1, failed: 1 } });
  });

  it('sends the same deadline with each call of a resumed stream', { tags: ['timed'] }, async ({ task }) => {
    const app = await start();
    const deadlines: number[] = [];
    const leftMs: number[] = [];
    server.script('Watch', (call) => {
      deadlines.push(call.deadline);
      leftMs.push(call.deadline - Date.now());
      return sendThreeMore(call);
    });
    const backoff = { initialBackoffMs: 500, maxBackoffMs: 500 };
    const feed = follow(app, { call: { timeoutMs: 60_000 }, backoff });
    await waitFor(() => feed.events.length === 3);
    await server.restart('kill-connections');
    await waitFor(() => feed.events.length === 6);
    expect(deadlines).toHaveLength(2);
    // The deadline is sent as the remaining time, which is shorter for the second call by at least the backoff of 500 ms ± 20%.
    expect(leftMs[1]!).toBeLessThan(leftMs[0]! - 350);
    const apartMs = Math.abs(deadlines[0]! - deadlines[1]!);
    recordTiming(task, 'largest difference between the deadlines of one stream, ms', apartMs, { atMost: 100 });
  });

  it('keeps the deadline of a resumed stream after a call that the server ended cleanly', async () => {
    const app = await start();
    const leftMs: number[] = [];
    server.script('Watch', (call) => {
      leftMs.push(call.deadline - Date.now());
      return { ...sendThreeMore(call), never: leftMs.length > 1 };
    });
    const backoff = { initialBackoffMs: 500, maxBackoffMs: 500 };
    const feed = follow(app, { call: { timeoutMs: 60_000 }, onComplete: 'resume', backoff });
    await waitFor(() => feed.events.length === 6);
    // For the second call, the remaining time is shorter by at least the backoff of 500 ms ± 20%.
    expect(leftMs[1]!).toBeLessThan(leftMs[0]! - 350);
  });

  it('ends a resumed stream immediately if its caller aborts it between two calls', async () => {
    const app = await start();
    const abort = new AbortController();
    const feed = follow(app, { call: { signal: abort.signal }, backoff: LONG_BACKOFF });
    await waitFor(() => feed.events.length === 3);
    await server.restart('kill-connections');
    await waitFor(() => app.client.activeCalls()[0]?.waiting);
    abort.abort(new Error('enough'));
    expect(feed).toMatchObject({ end: 'failed: cancelled', error: { cause: { message: 'enough' } } });
  });

  it('resumes a stream after an outage that is longer than outageGraceMs', async () => {
    const app = await start({ outageGraceMs: 100 });
    const feed = follow(app);
    await waitFor(() => feed.events.length === 3);
    await server.stop('kill-connections');
    await waitFor(async () => {
      const failed = await firstValueFrom(app.orders.get({ id: '1' })).catch(
        (error: unknown) => (error as GrpcCallError).reason,
      );
      return failed === 'outage';
    });
    // The stream is one waiting call; `outageGraceMs` does not limit its wait.
    const waiting = app.client.activeCalls().filter((call) => call.waiting);
    expect(waiting).toMatchObject([{ path: '/orders.v1.Orders/Watch', resumes: 1 }]);
    await server.restart();
    await waitFor(() => feed.events.length === 6, { timeoutMs: 15_000 });
    expect(feed.events).toEqual(upTo(6));
    expect(app.client.snapshot().counters).toMatchObject({ resumed: 1 });
  });

  it('resumes a stream after two or more failures with reason outage if its method has waitForReady: false', async () => {
    const app = await start({ methods: { Watch: { waitForReady: false } } });
    const failures: string[] = [];
    const onError = (error: unknown) => {
      failures.push((error as GrpcCallError).reason);
      return undefined;
    };
    const feed = follow(app, { onError });
    await waitFor(() => feed.events.length === 3);
    await server.stop('kill-connections');
    await waitFor(() => failures.filter((reason) => reason === 'outage').length >= 2);
    await server.restart();
    await waitFor(() => feed.events.length === 6, { timeoutMs: 15_000 });
  });

  it('resumes a stream on another server if its server stays silent', async () => {
    const other = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Watch: sendThreeMore } });
    onTestFinished(() => other.close());
    const [first, second] = [server.port, other.port];
    const app = await start({
      url: `ipv4:127.0.0.1:${String(first)},127.0.0.1:${String(second)}`,
      loadBalancing: 'round_robin',
      streamIdleTimeoutMs: 200,
    });
    const feed = follow(app);
    // Both servers send three events per call and are then silent.
    await waitFor(() => server.counts('Watch').calls > 0 && other.counts('Watch').calls > 0);
    await waitFor(() => feed.events.length >= 9);
    expect(feed.events).toEqual(upTo(feed.events.length));
  });
});

describe('log of a quiet feed whose connection is lost', () => {
  const NOT_RETRIED = /the call may have reached the server and was not retried/;

  it('logs no warning about an unretried call if a quiet feed is resumed after its connection is lost', async () => {
    server.script('Watch', { never: true });
    const app = await start();
    const events: GrpcClientEvent[] = [];
    app.client.events$.subscribe((event) => events.push(event));
    const feed = follow(app, { call: { idempotent: false } });
    for (let calls = 1; calls <= 3; calls++) {
      await waitFor(() => server.counts('Watch').open === 1 && server.counts('Watch').calls === calls);
      await server.restart('kill-connections');
    }
    await waitFor(() => server.counts('Watch').calls === 4);
    expect(feed.end).toBe('open');
    expect(events.filter(({ type }) => type === 'attempt-end')).toMatchObject(
      Array(3).fill({ path: '/orders.v1.Orders/Watch', reachedServer: 'maybe', next: 'resume' }),
    );
    expect(app.lines.filter(({ level }) => level === 'warn').map(({ text }) => text)).not.toContainEqual(
      expect.stringMatching(NOT_RETRIED),
    );
  });

  it('logs a warning about an unretried call if a quiet feed is not resumed after its connection is lost', async () => {
    server.script('Watch', { never: true });
    const app = await start();
    const feed = follow(app, { call: { idempotent: false }, onError: () => 'fail' });
    await waitFor(() => server.counts('Watch').open === 1);
    await server.restart('kill-connections');
    await waitFor(() => feed.end !== 'open');
    expect(feed.end).toBe('failed: connection-lost');
    await waitFor(() => app.lines.some(({ level, text }) => level === 'warn' && NOT_RETRIED.test(text)));
  });
});

describe('resumed stream at shutdown', () => {
  it('completes a resumed stream at shutdown if the stream is waiting for the channel during an outage', async () => {
    const app = await start();
    const feed = follow(app);
    await waitFor(() => feed.events.length === 3);
    await server.stop('kill-connections');
    await waitFor(() => app.client.snapshot().waiting === 1);
    await app.close();
    expect(feed.end).toBe('completed');
  });

  it('does not resume a stream during a shutdown if the stream has onDrain: finish', async () => {
    const app = await start(FINISHING, { timeoutMs: 5_000 });
    const feed = follow(app);
    await waitFor(() => feed.events.length === 3);
    const calls = server.counts('Watch').calls;
    const closing = app.close();
    await waitFor(() => !app.client.accepting);
    expect(feed.end).toBe('open');
    await server.restart('kill-connections');
    await waitFor(() => feed.end !== 'open');
    expect(feed.end).toBe('failed: draining');
    expect(server.counts('Watch').calls).toBe(calls);
    await closing;
  });

  it('resumes a stream, without a retry of its call, if the server requests a delay of more than 5 minutes', async () => {
    server.script('Watch', { status: 'UNAVAILABLE', details: 'busy', pushback: 300_001 });
    const app = await start();
    const ends: unknown[] = [];
    app.client.events$.subscribe((event) => {
      if (event.type === 'attempt-end') ends.push([event.next, event.reason]);
    });
    follow(app);
    await waitFor(() => ends.length === 1);
    expect(ends).toEqual([['resume', 'pushback']]);
  });

  it('fails a resumed stream (onDrain: finish) at the start of a drain if the retry of its call is due after the drain', async () => {
    server.script('Watch', { status: 'UNAVAILABLE', details: 'busy', pushback: 60_000 });
    const app = await start(FINISHING);
    const feed = follow(app);
    await waitFor(() => server.counts('Watch').answered === 1);
    const report = await app.client.drain({ timeoutMs: 3_000 });
    expect(feed.end).toBe('failed: draining');
    expect(report).toMatchObject({ finished: 1, failed: 1, cancelled: 0 });
  });

  it('fails a resumed stream (onDrain: finish) at the start of a drain if its next call is due after the drain', async () => {
    const app = await start(FINISHING);
    const feed = follow(app, { backoff: LONG_BACKOFF });
    await waitFor(() => feed.events.length === 3);
    await server.restart('kill-connections');
    await waitFor(() => app.client.activeCalls()[0]?.waiting);
    const report = await app.client.drain({ timeoutMs: 3_000 });
    expect(feed.end).toBe('failed: draining');
    expect(report).toMatchObject({ finished: 1, failed: 1, cancelled: 0 });
  });

  it('fails a resumed stream (onDrain: finish) if its call fails during a drain and its next call is due after the drain', async () => {
    const app = await start(FINISHING);
    const feed = follow(app, { backoff: LONG_BACKOFF });
    await waitFor(() => feed.events.length === 3);
    const draining = app.client.drain({ timeoutMs: 3_000 });
    await server.stop('kill-connections');
    expect(await draining).toMatchObject({ finished: 1, failed: 1, cancelled: 0 });
    expect(feed.end).toBe('failed: draining');
  });

  it('resumes a stream on another client if the first client is drained while the call of the stream waits for its retry', async () => {
    server.script('Watch', { status: 'UNAVAILABLE', details: 'busy' });
    const retryPolicy = {
      maxAttempts: 3,
      initialBackoff: '60s',
      maxBackoff: '60s',
      backoffMultiplier: 1,
      retryableStatusCodes: ['UNAVAILABLE'],
    };
    const name = [{ service: 'orders.v1.Orders' }];
    let current = await start({ ...FINISHING, serviceConfig: { methodConfig: [{ name, retryPolicy }] } });
    const first = current;
    const other = await start();
    const events: string[] = [];
    const feed = resumable((from: string) => current.orders.watch({ from }), {
      cursor: ({ sequence }) => sequence,
      seed: '0',
      compare: bySequence,
      backoff: SHORT_BACKOFF,
    }).subscribe(({ sequence }) => events.push(sequence));
    onTestFinished(() => feed.unsubscribe());
    await waitFor(() => server.counts('Watch').answered === 1);
    server.script('Watch', sendThreeMore);
    current = other;
    await first.client.drain({ timeoutMs: 3_000 });
    await waitFor(() => events.length === 3);
    expect(other.client.activeCalls()).toHaveLength(1);
  });

  it('counts one stream as ended and none as cancelled if the reader of several streams unsubscribes when a drain ends the first', async () => {
    const app = await start({ methods: { Watch: { onDrain: 'fail' } } });
    const feeds = [1, 2, 3].map(() =>
      resumable((from: string) => app.orders.watch({ from }), {
        cursor: ({ sequence }) => sequence,
        seed: '0',
        compare: bySequence,
        backoff: LONG_BACKOFF,
      }),
    );
    let received = 0;
    const ended = new Promise((resolve) => merge(...feeds).subscribe({ next: () => (received += 1), error: resolve }));
    await waitFor(() => received === 9);
    await server.restart('kill-connections');
    await waitFor(() => app.client.activeCalls().every(({ waiting }) => waiting));
    expect(await app.client.drain({ timeoutMs: 3_000 })).toMatchObject({ ended: 1, cancelled: 0 });
    expect(await ended).toMatchObject({ reason: 'draining' });
  });

  it('completes a stream (onDrain: complete) at the start of a drain, even if the retry of its call is due after the drain', async () => {
    server.script('Watch', { status: 'UNAVAILABLE', details: 'busy', pushback: 60_000 });
    const app = await start({ methods: { Watch: { onDrain: 'complete' } } });
    const feed = follow(app);
    const plain = lastValueFrom(app.orders.watch({ from: '0' }), { defaultValue: 'none' });
    await waitFor(() => server.counts('Watch').answered === 2);
    expect(await app.client.drain({ timeoutMs: 3_000 })).toMatchObject({ completed: 2, cancelled: 0 });
    expect(feed.end).toBe('completed');
    expect(await plain).toBe('none');
  });

  it('fails a resumed stream if its client is closed', async () => {
    const app = await start();
    const feed = follow(app, { onError: () => 'resume' });
    await waitFor(() => feed.events.length === 3);
    await app.client.close();
    expect(feed.end).toBe('failed: closed');
  });
});
