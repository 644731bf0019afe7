import { ClientGrpcProxy } from '@nestjs/microservices';
import type { GrpcObservable } from 'nestjs-resilient-grpc';
import { ResumeError, replayUnacknowledged, type ReplayOptions } from 'nestjs-resilient-grpc/operators';
import { FaultProxy, type ScriptedCall, type ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { from, lastValueFrom, Subject, tap, toArray, type Observable } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  quietTime,
  rejection,
  settled,
  startBehindProxy,
  startClient,
  startServer,
  toList,
  turns,
  type EchoService,
} from '../calls/support.js';
import { holdTimers } from '../server/support/held-timers.js';
import { ECHO_PROTO, type Echo, type EchoRequest } from '../testing/echo-client.js';
import { READERS } from './support.js';

const payload = Buffer.alloc(64 * 1024);
/** Options with a short backoff and the minimum `minHealthyMs` (0 counts as 1000), because these tests break connections many times. */
const QUICK = { minHealthyMs: 0, backoff: { initialBackoffMs: 10, maxBackoffMs: 50 } };

type Rules = ReplayOptions<EchoRequest, Echo, number>;

/** Creates a session of numbered messages. A response with the number of a message acknowledges it. */
function sessionOf(
  echo: { bidi(messages: AsyncIterable<EchoRequest>): Observable<Echo> },
  outgoing: AsyncIterable<EchoRequest> | Iterable<EchoRequest> | Observable<EchoRequest>,
  change: Partial<Rules> = {},
): GrpcObservable<Echo> {
  return replayUnacknowledged((messages) => echo.bidi(messages), outgoing, {
    id: ({ number = 0 }) => number,
    acknowledges: ({ number }) => (number === 0 ? undefined : number),
    maxUnacknowledged: 50,
    ...QUICK,
    ...change,
  });
}

/** Creates a source that generates numbered messages on demand. */
function numbered(count: number, filling: Buffer = Buffer.alloc(0)) {
  const source = {
    taken: 0,
    returned: false,
    *[Symbol.iterator](): Generator<EchoRequest> {
      try {
        while (source.taken < count) yield { number: ++source.taken, payload: filling };
      } finally {
        source.returned = source.taken < count;
      }
    },
  };
  return source;
}

/** The numbers that the server received in this call. */
const arrivedOver = ({ requests }: { readonly requests: readonly unknown[] }): number[] =>
  (requests as readonly Echo[]).map(({ number }) => number);

/** The numbers that the server received in all calls, in sequence. */
const arrivedAt = (server: ScriptedGrpcServer): number[] => server.calls('Bidi').flatMap(arrivedOver);

const numbers = (count: number, first = 1): number[] => Array.from({ length: count }, (_, index) => first + index);

describe.each(Object.entries(READERS))('session, %s', (_how, read) => {
  it.each([
    ['single', 'rst', 'to-upstream', 2_048],
    ['cumulative', 'fin', 'to-client', 128],
  ] as const)(
    'delivers all messages of a replayed session in sequence while its connections are cut (acknowledgment: %s, %s %s)',
    async (kind, cut, way, bytes) => {
      const { server, proxy, echo } = await startBehindProxy();
      const count = 1_000;
      if (kind === 'cumulative') server.script('Bidi', { messages: (call) => everyTenth(call as ScriptedCall<Echo>) });
      proxy.closeAfterBytes(bytes, way, cut, 6);
      const replies = await read(sessionOf(echo, numbered(count), { acknowledgment: kind }));
      expect([...new Set(arrivedAt(server))]).toEqual(numbers(count));
      expect(replies.at(-1)).toMatchObject({ number: count });
      expect(server.counts('Bidi').calls).toBeGreaterThanOrEqual(7);
      // Only messages in flight are resent.
      expect(arrivedAt(server).length).toBeLessThan(count + 10 * 50);
    },
  );

  it('sends hello on each call of a replayed session, which resumes after a forced server stop and after lost connections', async () => {
    const { server, echo } = await startBehindProxy();
    const stops = ['force', 'kill-connections', 'force'] as const;
    // In each call except the last, the server acknowledges ten messages and then only reads until it stops.
    server.script('Bidi', (call) => ({
      messages: acknowledge(call as ScriptedCall<Echo>, call.number > stops.length ? Infinity : 10),
    }));
    let hellos = 0;
    const replies = read(
      sessionOf(echo, numbered(100), { hello: () => ({ number: 0, text: `hello ${String(++hellos)}` }) }),
    );
    for (const [index, how] of stops.entries()) {
      // Waits for the hello and for all messages that may be sent without further acknowledgments.
      await waitFor(() => server.calls('Bidi')[index]?.requests.length === Math.min(60, 100 - index * 10) + 1);
      await server.stop(how);
      await server.restart();
    }
    expect((await replies).map(({ number }) => number)).toEqual(numbers(100));
    expect(server.calls('Bidi').map(arrivedOver)).toEqual([
      [0, ...numbers(60)],
      [0, ...numbers(60, 11)],
      [0, ...numbers(60, 21)],
      [0, ...numbers(70, 31)],
    ]);
    expect(server.calls('Bidi').map(({ requests }) => (requests[0] as Echo).text)).toEqual([
      'hello 1',
      'hello 2',
      'hello 3',
      'hello 4',
    ]);
  });

  it('resumes a replayed session after the server ends the call cleanly', async () => {
    const { server, echo } = await startBehindProxy();
    server.script('Bidi', (call) => ({ messages: acknowledge(call as ScriptedCall<Echo>, 25, 'end') }));
    const replies = await read(sessionOf(echo, numbered(100), { maxUnacknowledged: 1 }));
    expect(replies.map(({ number }) => number)).toEqual(numbers(100));
    expect(server.calls('Bidi').map(({ code }) => code)).toEqual([0, 0, 0, 0]);
  });

  it('fails a replayed session if the server repeatedly fails at the same message', async () => {
    const { server, echo } = await startBehindProxy();
    server.script('Bidi', (call) => ({ messages: failAt(call as ScriptedCall<Echo>, 7) }));
    const poison = await rejection(read(sessionOf(echo, numbered(20))));
    expect(poison instanceof ResumeError).toBe(true);
    expect(poison).toMatchObject({
      reason: 'poison',
      code: 13,
      message: expect.stringContaining('the first with id 7'),
    });
    expect(server.calls('Bidi').map((call) => arrivedOver(call)[0])).toEqual([1, 7, 7, 7, 7]);
  });
});

/** Acknowledges every tenth message, and the last one at the end. */
async function* everyTenth(call: ScriptedCall<Echo>): AsyncGenerator<EchoRequest> {
  let last = 0;
  for await (const { number } of call.requests) {
    last = number;
    if (number % 10 === 0) yield { number };
  }
  if (last % 10 !== 0) yield { number: last };
}

/** Acknowledges `count` messages, then ends the call if `then` is 'end', and otherwise only reads. */
async function* acknowledge(call: ScriptedCall<Echo>, count: number, then?: 'end'): AsyncGenerator<EchoRequest> {
  let left = count;
  for await (const { number } of call.requests) {
    if (number > 0 && left-- > 0) yield { number };
    if (left <= 0 && then === 'end') return;
  }
}

/** Acknowledges messages in batches of `count`. Acknowledges the first batch only after `allowed` has resolved. */
async function* later(call: ScriptedCall<Echo>, count: number, allowed: Promise<void>): AsyncGenerator<EchoRequest> {
  const read: number[] = [];
  for await (const { number } of call.requests) {
    if (read.push(number) < count) continue;
    await allowed;
    for (const one of read.splice(0)) yield { number: one };
  }
}

async function* failAt(call: ScriptedCall<Echo>, poison: number): AsyncGenerator<EchoRequest> {
  for await (const { number } of call.requests) {
    if (number === poison) throw new Error(`cannot do ${String(poison)}`);
    yield { number };
  }
}

describe('end of a session', () => {
  /** Starts a session whose server has read 50 messages and acknowledges them after `acknowledgeAll()`. */
  async function startUnacknowledgedSession(backoff: Rules['backoff'] = QUICK.backoff) {
    const server = await startServer();
    const client = await startClient({ url: server.url });
    let acknowledgeAll = (): void => undefined;
    const allowed = new Promise<void>((resolve) => (acknowledgeAll = resolve));
    server.script('Bidi', (call) => ({ messages: later(call as ScriptedCall<Echo>, 50, allowed) }));
    const source = numbered(1_000);
    const session = sessionOf(client.getService<EchoService>('Echo'), source, { backoff, minHealthyMs: 60_000 });
    const result = toList(session).catch((error: unknown) => error);
    await waitFor(() => server.calls('Bidi')[0]?.requests.length === 50);
    return { server, client, source, result, acknowledgeAll: () => acknowledgeAll() };
  }

  it('cancels the call of a replayed session and calls return() of its source if the reader stops', async () => {
    const { server, echo } = await startBehindProxy();
    const source = numbered(1_000);
    for await (const { number } of sessionOf(echo, source)) if (number === 3) break;
    expect(source.returned).toBe(true);
    await waitFor(() => server.counts('Bidi').cancelled === 1);
    await quietTime();
    expect(server.counts('Bidi').calls).toBe(1);
  });

  it('completes a replayed session during a drain of the client after all sent messages are acknowledged', async () => {
    const { server, client, result, source, acknowledgeAll } = await startUnacknowledgedSession();
    const drained = client.drain({ timeoutMs: 25_000 });
    await waitFor(() => source.returned);
    expect(server.counts('Bidi').open).toBe(1);
    acknowledgeAll();
    expect(await drained).toMatchObject({ completed: 1, cancelled: 0 });
    expect(await result).toHaveLength(50);
    expect(source.taken).toBe(50);
  });

  it('fails a replayed session during a drain of the client if the session is between two calls and has unacknowledged messages', async () => {
    const { server, client, result, source } = await startUnacknowledgedSession({
      initialBackoffMs: 60_000,
      maxBackoffMs: 60_000,
    });
    await server.stop('force');
    await waitFor(() => client.activeCalls()[0]?.waiting === true);
    await client.drain({ timeoutMs: 25_000 });
    expect(await result).toMatchObject({ reason: 'connection-lost', reachedServer: 'maybe' });
    expect(source).toMatchObject({ taken: 50, returned: true });
    expect(server.counts('Bidi').calls).toBe(1);
  });

  /** Starts a session whose Observable has pushed 150 messages, of which the server has read 50. */
  async function startPushedSession() {
    const server = await startServer();
    const client = await startClient({ url: server.url });
    let acknowledgeAll = (): void => undefined;
    const allowed = new Promise<void>((resolve) => (acknowledgeAll = resolve));
    server.script('Bidi', (call) => ({ messages: later(call as ScriptedCall<Echo>, 50, allowed) }));
    const pushed = new Subject<EchoRequest>();
    const result = toList(sessionOf(client.getService<EchoService>('Echo'), pushed)).catch((error: unknown) => error);
    for (const number of numbers(150)) pushed.next({ number });
    await waitFor(() => server.calls('Bidi')[0]?.requests.length === 50);
    return { server, client, pushed, result, acknowledgeAll: () => acknowledgeAll() };
  }

  it('sends all messages that an Observable pushed to a replayed session, even if a drain of the client starts before they are sent', async () => {
    const { server, client, pushed, result, acknowledgeAll } = await startPushedSession();
    const drained = client.drain({ timeoutMs: 25_000 });
    await waitFor(() => !pushed.observed);
    acknowledgeAll();
    expect(await drained).toMatchObject({ completed: 1, cancelled: 0 });
    expect(await result).toHaveLength(150);
    expect(arrivedAt(server)).toEqual(numbers(150));
  });

  it('fails a replayed session if the drain timeout expires before all messages that an Observable pushed are acknowledged', async () => {
    const { server, client, result } = await startPushedSession();
    expect(await client.drain({ timeoutMs: 50 })).toMatchObject({ completed: 0, cancelled: 1 });
    expect(await result).toMatchObject({ reason: 'draining' });
    expect(arrivedAt(server)).toEqual(numbers(50));
  });

  it('fails a replayed session if the client closes', async () => {
    const server = await startServer();
    const client = await startClient({ url: server.url });
    server.script('Bidi', { hold: 'messages', messages: (call) => call.requests });
    const source = numbered(1_000);
    const session = sessionOf(client.getService<EchoService>('Echo'), source, { onError: () => 'resume' });
    const result = rejection(session);
    await waitFor(() => source.taken > 10);
    await client.close();
    expect(await result).toMatchObject({ reason: 'closed' });
    expect(source.returned).toBe(true);
    await waitFor(() => server.counts('Bidi').cancelled === 1);
    expect(server.counts('Bidi').calls).toBe(1);
  });
});

describe('source of a session', () => {
  it('pauses the source of a replayed session until the server acknowledges messages', async () => {
    const { server, echo } = await startBehindProxy();
    const source = numbered(10_000, payload);
    server.script('Bidi', { messages: (call) => call.requests, hold: 'messages' });
    const seen: number[] = [];
    const subscription = sessionOf(echo, source, { maxUnacknowledged: 20 }).subscribe(({ number }) =>
      seen.push(number),
    );
    await waitFor(() => source.taken > 0);
    expect(await settled(() => source.taken)).toBeLessThanOrEqual(20);
    server.release();
    await waitFor(() => seen.length > 100);
    expect(source.taken).toBeLessThanOrEqual(seen.length + 20);
    subscription.unsubscribe();
    expect(source.returned).toBe(true);
    await waitFor(() => server.counts('Bidi').cancelled === 1);
  });

  it('pauses the source of a replayed session while the server is unreachable', async () => {
    const { server, proxy, echo } = await startBehindProxy();
    const count = 3_000;
    const source = numbered(count);
    const replies = toList(sessionOf(echo, source, { maxUnacknowledged: 5 }));
    await waitFor(() => source.taken > 100);
    proxy.refuse();
    proxy.resetAll();
    await waitFor(() => server.counts('Bidi').open === 0);
    const taken = await settled(() => source.taken);
    expect(taken).toBeLessThan(count);
    await proxy.forward();
    expect((await replies).length).toBeGreaterThanOrEqual(count);
    expect([...new Set(arrivedAt(server))]).toEqual(numbers(count));
  });

  it('pauses the source of a replayed session while the reader pauses', async () => {
    const { echo } = await startBehindProxy();
    const source = numbered(10_000, payload);
    const reader = sessionOf(echo, source, { maxUnacknowledged: 1_000 })[Symbol.asyncIterator]();
    await reader.next();
    expect(await settled(() => source.taken)).toBeLessThan(200);
    for (let i = 0; i < 300; i++) await reader.next();
    expect(source.taken).toBeGreaterThan(300);
    await reader.return?.();
    expect(source.returned).toBe(true);
  });
});

describe('server that stops acknowledging', () => {
  it('starts a new call of a replayed session and resends unacknowledged messages after acknowledgmentTimeoutMs without an acknowledgment', async () => {
    const { server, echo } = await startBehindProxy();
    server.script('Bidi', (call) => ({
      messages: acknowledge(call as ScriptedCall<Echo>, call.number > 2 ? Infinity : 3),
      never: call.number <= 2,
    }));
    const { advance, until, scheduler } = holdTimers();
    const replies: number[] = [];
    const errors: unknown[] = [];
    const onError = (error: unknown) => void errors.push(error);
    const session = sessionOf(echo, numbered(10), { acknowledgmentTimeoutMs: 500, onError, scheduler });
    const ended = lastValueFrom(session.pipe(tap(({ number }) => replies.push(number))));
    for (const call of [0, 1]) {
      const before = 3 * call;
      await until(() => server.calls('Bidi')[call]?.requests.length === 10 - before && replies.length === before + 3);
      await turns();
      await advance(499);
      expect(errors).toHaveLength(call);
      await advance(1);
      await until(() => errors.length === call + 1);
      // Advances the timers by more than any backoff of this session, so that the next call starts.
      await advance(60);
    }
    await ended;
    expect(replies).toEqual(numbers(10));
    expect(server.calls('Bidi').map(arrivedOver)).toEqual([numbers(10), numbers(7, 4), numbers(4, 7)]);
    expect(errors).toMatchObject([
      { reason: 'acknowledgment-timeout', unacknowledged: 7 },
      { reason: 'acknowledgment-timeout', unacknowledged: 4 },
    ]);
  });
});

describe("session of Nest's own client", () => {
  it("resumes a replayed session of Nest's own client after lost connections", async () => {
    const server = await startServer();
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const nest = new ClientGrpcProxy({ url: proxy.url, package: 'testing.v1', protoPath: ECHO_PROTO });
    onTestFinished(() => {
      nest.close();
    });
    const echo = nest.getService<EchoService>('Echo');
    proxy.closeAfterBytes(8 * 1024, 'to-upstream', 'rst', 3);
    const session = sessionOf({ bidi: (messages) => echo.bidi(from(messages)) }, numbered(2_000));
    const replies = await lastValueFrom(session.pipe(toArray()));
    expect([...new Set(arrivedAt(server))]).toEqual(numbers(2_000));
    expect(replies.at(-1)).toMatchObject({ number: 2_000 });
    expect(server.counts('Bidi').calls).toBeGreaterThanOrEqual(4);
  });
});
