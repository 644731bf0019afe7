import type { GrpcCallError, ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { replayUnacknowledged, resumable } from 'nestjs-resilient-grpc/operators';
import { waitFor, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { NEVER, concat, defer, map, merge, repeat, switchMap, type Observable } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { holdTimers } from '../server/support/held-timers.js';
import { startClient, startServer, turns, type EchoService, type EchoStub } from '../calls/support.js';
import type { Echo } from '../testing/echo-client.js';

interface Side {
  readonly server: ScriptedGrpcServer;
  readonly client: ResilientGrpcClient;
  readonly echo: EchoStub;
}

/** Starts a server whose streams send one message and stay open, and a client of the server. */
async function startSide(settings: object = {}): Promise<Side> {
  const server = await startServer();
  server.script('ServerStream', { messages: [{ number: 1 }], never: true });
  const client = await startClient({ url: server.url, ...settings });
  return { server, client, echo: client.getService<EchoService>('Echo') };
}

function watch(stream: Observable<unknown>) {
  const seen = { received: 0, end: 'open' };
  const subscription = stream.subscribe({
    next: () => (seen.received += 1),
    error: (error: GrpcCallError) => (seen.end = error.reason ?? String(error)),
    complete: () => (seen.end = 'completed'),
  });
  onTestFinished(() => {
    subscription.unsubscribe();
  });
  return seen;
}

const BY_NUMBER = { cursor: ({ number }: Echo) => number, seed: 0, compare: () => 1 };
const counters = ({ client }: Side) => client.snapshot().counters;
const quick = { backoff: { initialBackoffMs: 10, maxBackoffMs: 10 } };

describe('stream of several calls', () => {
  it('treats the call of the factory as part of a replayed session, but not the call that is the source of the session', async () => {
    const [a, b] = [await startSide(), await startSide()];
    const session = replayUnacknowledged((out) => a.echo.bidi(out), b.echo.serverStream({}, { timeoutMs: 60_000 }), {
      id: ({ number }) => number,
      acknowledges: ({ number }) => number,
      maxUnacknowledged: 10,
    });
    await a.client.waitForReady();
    const seen = watch(session);
    await waitFor(() => seen.received === 1);
    expect(a.client.activeCalls()).toMatchObject([{ path: '/testing.v1.Echo/Bidi', resumes: 0 }]);
    expect(b.client.activeCalls()).toMatchObject([{ path: '/testing.v1.Echo/ServerStream' }]);
    expect(b.client.activeCalls()[0]).not.toHaveProperty('resumes');
    expect([counters(a).started, counters(b).started]).toEqual([1, 1]);
    expect(await a.client.drain({ timeoutMs: 60_000 })).toMatchObject({ completed: 1, cancelled: 0 });
    expect(seen.end).toBe('completed');
    await waitFor(() => counters(b).cancelled === 1);
  });

  it('does not treat a call as part of a resumable stream if the call is the request source of another call', async () => {
    const one = await startSide();
    one.server.script('ClientStream', { requests: 'leave', message: {} });
    await one.client.waitForReady();
    const seen = watch(
      resumable(
        () => one.echo.clientStream(one.echo.serverStream({})).pipe(switchMap(() => one.echo.bidi(NEVER))),
        BY_NUMBER,
      ),
    );
    one.server.script('Bidi', { messages: [{ number: 1 }], never: true });
    await waitFor(() => seen.received === 1);
    expect(counters(one).started).toBe(3);
    expect(one.client.activeCalls()).toMatchObject([{ path: '/testing.v1.Echo/Bidi', sent: 0 }]);
  });

  it('does not treat a call as part of a resumable stream if the factory itself subscribes to the call', async () => {
    const one = await startSide();
    const separate: { received: number; end: string }[] = [];
    const seen = watch(
      resumable(() => {
        separate.push(watch(one.echo.serverStream({})));
        return one.echo.serverStream({});
      }, BY_NUMBER),
    );
    await waitFor(() => seen.received === 1 && separate[0]?.received === 1);
    const calls = one.client.activeCalls();
    expect(calls).toHaveLength(2);
    expect(calls.filter(({ resumes }) => resumes !== undefined)).toHaveLength(1);
    expect(counters(one).started).toBe(2);
    const report = await one.client.drain({ timeoutMs: 200 });
    expect(report).toMatchObject({ completed: 1, cancelled: 1 });
    expect([seen.end, separate[0]!.end]).toEqual(['completed', 'draining']);
  });

  it('lists a resumable stream of two merged calls as active on the client of each call, and completes it when one client is drained', async () => {
    const [a, b] = [await startSide(), await startSide()];
    const seen = watch(resumable(() => merge(a.echo.serverStream({}), b.echo.serverStream({})), BY_NUMBER));
    await waitFor(() => seen.received === 2);
    expect([a.client.activeCalls().length, b.client.activeCalls().length]).toEqual([1, 1]);
    expect(await a.client.drain({ timeoutMs: 60_000 })).toMatchObject({ completed: 1, cancelled: 0 });
    expect(seen.end).toBe('completed');
    expect(b.client.activeCalls()).toEqual([]);
    expect(counters(b)).toMatchObject({ started: 1, succeeded: 1 });
  });

  it('does not apply the deadline of a successful call to the next call that the factory makes', async () => {
    const one = await startSide();
    one.server.script('Bidi', { messages: [{ number: 1 }] });
    const { advance, until, scheduler } = holdTimers();
    const stream = () => concat(one.echo.bidi([], { timeoutMs: 300 }), one.echo.serverStream({}));
    const seen = watch(resumable(stream, { ...BY_NUMBER, scheduler }));
    await until(() => seen.received === 2);
    await advance(500);
    await turns();
    expect(seen.end).toBe('open');
    expect(one.server.calls('ServerStream')).toHaveLength(1);
  });

  it.each([
    ['plain calls', (call: () => Observable<Echo>) => call()],
    ['piped calls', (call: () => Observable<Echo>) => call().pipe(map((message) => message))],
  ])('fails a resumable stream of %s at a deadline that passes between two calls', async (_, around) => {
    const one = await startSide();
    const { advance, until, scheduler } = holdTimers();
    const stream = () => around(() => one.echo.serverStream({}, { timeoutMs: 400 }));
    const slow = { initialBackoffMs: 60_000, maxBackoffMs: 60_000 };
    const seen = watch(resumable(stream, { ...BY_NUMBER, backoff: slow, scheduler }));
    await until(() => seen.received === 1);
    await one.server.restart('kill-connections');
    await until(() => one.client.activeCalls()[0]?.waiting);
    await advance(399);
    expect(seen.end).toBe('open');
    await advance(1);
    await until(() => seen.end !== 'open');
    expect(seen.end).toBe('deadline');
  });

  it.each([
    ['the response of another call', ({ echo }: Side) => echo.unary({}).pipe(switchMap(() => echo.serverStream({})))],
    ['defer()', ({ echo }: Side) => defer(() => echo.serverStream({})).pipe(map((message) => message))],
  ])('treats a call as part of a resumable stream if the call is started by %s', async (_, stream) => {
    const one = await startSide();
    const seen = watch(resumable(() => stream(one), { ...BY_NUMBER, ...quick }));
    await waitFor(() => seen.received === 1);
    await one.server.restart('kill-connections');
    await waitFor(() => seen.received === 2);
    expect(one.client.activeCalls()).toMatchObject([{ path: '/testing.v1.Echo/ServerStream', resumes: 1 }]);
    expect(await one.client.drain({ timeoutMs: 60_000 })).toMatchObject({ completed: 1, cancelled: 0 });
    expect(seen.end).toBe('completed');
  });

  it('treats a nested resumable stream as part of the outer stream, and restarts neither stream during a drain', async () => {
    const one = await startSide();
    let started = 0;
    const inner = () =>
      resumable(() => {
        started += 1;
        return one.echo.serverStream({});
      }, BY_NUMBER);
    const seen = watch(resumable(inner, { ...BY_NUMBER, onComplete: 'resume' }));
    await waitFor(() => seen.received === 1);
    expect(await one.client.drain({ timeoutMs: 60_000 })).toMatchObject({ completed: 1, cancelled: 0 });
    expect([seen.end, started]).toEqual(['completed', 1]);
  });

  it('keeps a stream open during the drain of a client if the calls of the stream have moved to another client', async () => {
    const [a, b] = [await startSide(), await startSide()];
    const sides = [a, b];
    const seen = watch(
      resumable((_cursor, attempt) => sides[attempt - 1]!.echo.serverStream({}), { ...BY_NUMBER, ...quick }),
    );
    await waitFor(() => seen.received === 1);
    await a.server.stop('kill-connections');
    await waitFor(() => seen.received === 2);
    expect([a.client.activeCalls().length, b.client.activeCalls().length]).toEqual([0, 1]);
    expect(counters(a)).toMatchObject({ started: 1, succeeded: 1 });
    await a.client.drain();
    expect(seen.end).toBe('open');
  });
});

describe('drain() with changes during the drain', () => {
  it('returns the same drain report if drain() is called again when a stream ends', async () => {
    const one = await startSide({ methods: { ServerStream: { onDrain: 'complete' } } });
    one.server.script('UnsafeUnary', { message: {}, hold: 'everything' });
    const call = watch(one.echo.unsafeUnary({}));
    let again: Promise<unknown> | undefined;
    one.echo.serverStream({}).subscribe({
      complete: () => {
        again = one.client.drain();
      },
    });
    await waitFor(() => one.server.heldCount('UnsafeUnary') === 1 && one.server.counts('ServerStream').open === 1);
    const events: string[] = [];
    one.client.events$.subscribe((event) => {
      if (event.type !== 'drain') return;
      events.push(event.phase);
      void one.client.drain();
    });
    const report = one.client.drain({ timeoutMs: 60_000 });
    await waitFor(() => again !== undefined);
    one.server.release('UnsafeUnary');
    expect(await again).toEqual(await report);
    expect(await report).toMatchObject({ finished: 1, completed: 1, cancelled: 0 });
    expect(call.end).toBe('completed');
    expect(events).toEqual(['begin', 'end']);
  });

  it('finishes a drain even if the reader restarts its stream after each end', async () => {
    const one = await startSide();
    let started = 0;
    const stream = resumable(() => {
      started += 1;
      return one.echo.serverStream({});
    }, BY_NUMBER);
    const seen = watch(stream.pipe(repeat()));
    await waitFor(() => seen.received === 1);
    one.server.script('UnsafeUnary', { message: {}, hold: 'everything' });
    const held = watch(one.echo.unsafeUnary({}));
    await waitFor(() => one.server.heldCount('UnsafeUnary') === 1);
    const drained = one.client.drain({ timeoutMs: 60_000 });
    await waitFor(() => one.server.counts('ServerStream').open === 0);
    await waitFor(() => started > 3);
    expect(one.server.calls('ServerStream')).toHaveLength(1);
    one.server.release('UnsafeUnary');
    expect(await drained).toMatchObject({ finished: 1, completed: 1 });
    expect(held.end).toBe('completed');
    await waitFor(() => seen.end === 'closed');
    // The stream restarts about ten times per second, not thousands of times.
    expect(started).toBeLessThan(30);
  });

  it('completes streams during a drain even if they are between two calls or are starting their next call', async () => {
    const one = await startSide();
    one.server.script('Bidi', { messages: [] });
    const { advance, until, scheduler } = holdTimers();
    const healthy = Array.from({ length: 250 }, () => watch(resumable(() => one.echo.serverStream({}), BY_NUMBER)));
    let started = 0;
    const flapping = Array.from({ length: 50 }, (_, index) => {
      const backoffMs = index % 2 === 0 ? 5 : 60_000;
      const next = () => {
        started += 1;
        return one.echo.bidi(NEVER);
      };
      const backoff = { initialBackoffMs: backoffMs, maxBackoffMs: backoffMs };
      return watch(resumable(next, { ...BY_NUMBER, backoff, scheduler, onComplete: 'resume' }));
    });
    await until(() => healthy.every(({ received }) => received === 1));
    await until(() => one.client.activeCalls().filter(({ waiting }) => waiting).length === 50);
    // Starts the next call of 25 streams in one turn of the event loop, so that none of these calls ends before the drain.
    vi.advanceTimersByTime(10);
    expect(started).toBe(75);
    const report = one.client.drain({ timeoutMs: 60_000 });
    await advance(1_000);
    expect(await report).toMatchObject({ finished: 0, completed: 300, cancelled: 0 });
    expect(new Set([...healthy, ...flapping].map(({ end }) => end))).toEqual(new Set(['completed']));
  });

  it('reports running calls as cancelled if the client closes during the drain', async () => {
    const one = await startSide();
    const calls = Array.from({ length: 5 }, () => watch(one.echo.serverStream({})));
    await waitFor(() => calls.every(({ received }) => received === 1));
    const report = one.client.drain({ timeoutMs: 60_000 });
    await one.client.close();
    expect(await report).toMatchObject({ finished: 0, completed: 0, cancelled: 5 });
  });
});
