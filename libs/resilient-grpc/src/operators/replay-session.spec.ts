import { NEVER, Subject } from 'rxjs';
import { beforeEach, describe, expect, it } from 'vitest';
import { ReplayError, ResumeError } from '../errors/stream-errors.js';
import {
  lost,
  MemorySessions,
  NumberedSource,
  sessionOptions,
  sessionStarter,
  type MemoryCall,
  type Numbered,
} from '../../../../test/unit-support/memory-session.js';
import { turn } from '../../../../test/unit-support/virtual-clock.js';
import { VirtualScheduler } from '../testing/virtual-scheduler.js';
import { replayUnacknowledged } from './replay-unacknowledged.js';

const internal = Object.assign(new Error('13 INTERNAL: oops'), { code: 13, details: 'oops' });

let time: VirtualScheduler;
beforeEach(() => {
  time = new VirtualScheduler();
});

const optionsOf = () => sessionOptions(time);
/** Creates a session and subscribes to it. */
const start = sessionStarter(() => time);

describe('replay session after a call', () => {
  it('completes a replay session after a clean end of a call if the source has ended and all messages are acknowledged', async () => {
    const server = new MemorySessions(false);
    const { ends } = start(server, new NumberedSource(1));
    await server.call.read();
    server.call.ack(1);
    server.call.sink.complete();
    expect(ends).toEqual([]);
    await turn();
    expect(ends).toEqual(['complete']);
    expect(time.pending).toBe(0);
  });

  it('makes another call of a replay session after a lost connection, even if the source has ended and all messages are acknowledged', async () => {
    const server = new MemorySessions();
    const { ends } = start(server, new NumberedSource(1));
    await turn();
    server.call.ack(1);
    server.call.sink.error(lost);
    await time.pass(100);
    expect(server.call).toMatchObject({ received: [], halfClosed: true });
    server.call.sink.complete();
    expect(ends).toEqual(['complete']);
  });

  it.each<[string, unknown]>([
    ['a final status', Object.assign(new Error('no'), { code: 5, details: '' })],
    ['an application error', new TypeError('slip')],
  ])('fails a replay session after %s', async (_, error) => {
    const server = new MemorySessions();
    const source = new NumberedSource();
    const { ends } = start(server, source);
    await turn();
    server.call.sink.error(error);
    expect(ends).toEqual([error]);
    expect(source.returned).toBe(1);
    expect(time.pending).toBe(0);
  });

  it('resumes or completes a replay session according to the result of onError', async () => {
    const server = new MemorySessions();
    const seen: unknown[] = [];
    const decisions = ['resume', undefined, 'complete'] as const;
    const onError = (error: unknown) => decisions[seen.push(error) - 1];
    const { ends } = start(server, new NumberedSource(), { onError });
    const applicationError = new TypeError('slip');
    server.call.sink.error(applicationError);
    await time.pass(100);
    server.call.sink.error(lost);
    await time.pass(200);
    expect(server.calls).toHaveLength(3);
    server.call.sink.error(lost);
    expect(seen).toEqual([applicationError, lost, lost]);
    expect(ends).toEqual(['complete']);
  });

  it('doubles the backoff between calls of a replay session until a message is acknowledged', async () => {
    const server = new MemorySessions();
    start(server, new NumberedSource());
    for (const delay of [100, 200, 400, 800]) {
      await turn();
      server.call.sink.next({ text: 'hello' });
      server.call.sink.error(lost);
      const { length } = server.calls;
      await time.pass(delay - 1);
      expect(server.calls).toHaveLength(length);
      await time.pass(1);
      expect(server.calls).toHaveLength(length + 1);
    }
    await turn();
    server.call.ack(1);
    server.call.sink.error(lost);
    await time.pass(100);
    expect(server.calls).toHaveLength(6);
  });

  it('counts any received message as progress of a replay session while all sent messages are acknowledged', async () => {
    const server = new MemorySessions();
    start(server, NEVER);
    server.call.sink.error(lost);
    await time.pass(100);
    server.call.sink.next({ text: 'news' });
    server.call.sink.error(lost);
    await time.pass(100);
    expect(server.calls).toHaveLength(3);
  });

  it.each<[string, (call: MemoryCall) => void, object]>([
    ['fails', (call) => call.sink.error(internal), { cause: internal, code: 13 }],
    ['ends the call cleanly', (call) => call.sink.complete(), { cause: expect.any(ReplayError), code: 10 }],
  ])('fails a replay session if the server %s five times without an acknowledgment', async (_, end, error) => {
    const server = new MemorySessions();
    const { ends } = start(server, new NumberedSource());
    for (let calls = 1; calls <= 5; calls++) {
      while (server.calls.length < calls) await time.pass(50);
      await turn();
      server.call.sink.next({ ack: 99 });
      end(server.call);
    }
    expect(ends).toEqual([expect.any(ResumeError)]);
    expect(ends[0]).toMatchObject({ reason: 'poison', ...error });
    expect((ends[0] as Error).message).toMatch(
      /^The server failed 5 times without an acknowledgment \(4 messages unacknowledged, the first with id 1\), last with ".*"; fix/,
    );
  });
});

describe('replay session at shutdown', () => {
  /** Starts a session whose Observable has pushed six messages, of which the server has read two. Then starts the shutdown. */
  async function startPushed() {
    const server = new MemorySessions();
    const pushed = new Subject<Numbered>();
    const { ends } = start(server, pushed, { maxUnacknowledged: 2 });
    for (let id = 1; id <= 6; id++) pushed.next({ id });
    await turn();
    expect(server.call.received).toEqual([1, 2]);
    server.call.scope?.complete();
    return { server, pushed, ends };
  }

  it('fails a replay session if its call ends during the shutdown while messages from an Observable are unsent', async () => {
    const { server, ends } = await startPushed();
    server.call.ack(1, 2);
    await turn();
    server.call.ack(3, 4);
    server.call.sink.error(lost);
    expect(ends).toEqual([lost]);
    const other = await startPushed();
    other.server.call.ack(1);
    other.server.call.sink.complete();
    expect(other.ends).toMatchObject([
      {
        reason: 'unacknowledged',
        message: 'The server ended the call cleanly, but did not acknowledge 2 messages sent to it',
      },
    ]);
  });

  it('reports the number of unsent messages in the error of a replay session that ends between two calls', async () => {
    const server = new MemorySessions();
    const pushed = new Subject<Numbered>();
    const { ends } = start(server, pushed);
    const { scope } = server.call;
    server.call.sink.complete();
    for (let id = 1; id <= 3; id++) pushed.next({ id });
    scope?.complete();
    expect(ends).toMatchObject([
      { reason: 'unacknowledged', message: 'The session ended with 1 message unacknowledged, 2 messages queued' },
    ]);
  });
});

describe('acknowledgment timeout', () => {
  it('runs the acknowledgment timeout of a replay session only while a sent message is unacknowledged', async () => {
    const server = new MemorySessions(false);
    start(server, new NumberedSource(1), { acknowledgmentTimeoutMs: 1_000 });
    await time.pass(5_000);
    void server.call.readAll();
    await time.pass(999);
    server.call.ack(1);
    await time.pass(60_000);
    expect(server.calls).toHaveLength(1);
    expect(time.pending).toBe(0);
  });

  it('counts an acknowledgment timeout of a replay session as a lost connection if the server is silent, and as a server failure otherwise', async () => {
    const silent = new MemorySessions();
    const { ends } = start(silent, new NumberedSource(), { acknowledgmentTimeoutMs: 1_000 });
    const responsive = new MemorySessions();
    const other = start(responsive, new NumberedSource(), { acknowledgmentTimeoutMs: 1_000 });
    for (let calls = 1; calls <= 5; calls++) {
      while (responsive.calls.length < calls) await time.pass(50);
      await turn();
      responsive.call.sink.next({ text: 'still here' });
      await time.pass(1_000);
    }
    expect(other.ends).toMatchObject([{ reason: 'poison', cause: { reason: 'acknowledgment-timeout' } }]);
    await time.pass(60_000);
    expect(silent.calls.length).toBeGreaterThan(5);
    expect(ends).toEqual([]);
  });

  it('fails a replay session after five acknowledgment timeouts of a server that sends other messages, even if the timeout exceeds minHealthyMs', async () => {
    const server = new MemorySessions();
    const { ends } = start(server, new NumberedSource(), { acknowledgmentTimeoutMs: 30_000 });
    for (let calls = 1; calls <= 5; calls++) {
      while (server.calls.length < calls) await time.pass(50);
      await turn();
      server.call.sink.next({ text: 'still here' });
      await time.pass(30_000);
    }
    expect(ends).toMatchObject([{ reason: 'poison', cause: { reason: 'acknowledgment-timeout' } }]);
  });

  it('stops the acknowledgment timeout of a replay session while the buffer of the reader is full', async () => {
    const server = new MemorySessions();
    const options = { ...optionsOf(), acknowledgmentTimeoutMs: 1_000 };
    const reader = replayUnacknowledged(server.factory, new NumberedSource(), options)[Symbol.asyncIterator]();
    const first = reader.next();
    await turn();
    server.call.sink.next({ text: 'first' });
    await first;
    server.call.sink.next({ text: 'second' });
    await time.pass(900);
    expect(server.call.sink.next({ text: 'third' })).toBe(false);
    await time.pass(60_000);
    expect(server.calls).toHaveLength(1);
    await reader.next();
    expect(server.call.readCount).toBeGreaterThan(0);
    await time.pass(999);
    expect(server.call.isUnsubscribed).toBe(false);
    await time.pass(1);
    expect(server.call.isUnsubscribed).toBe(true);
    await reader.return?.();
  });
});

describe('maximum age of a replay call', () => {
  it('closes a replay call at its maximum age if all messages are acknowledged, and makes the next call at once', async () => {
    const server = new MemorySessions();
    start(server, NEVER, { maxAgeMs: 60_000 });
    await time.pass(59_999);
    expect(server.call).toMatchObject({ halfClosed: false, isUnsubscribed: false });
    await time.pass(1);
    expect(server.calls).toHaveLength(2);
    expect(server.calls[0]).toMatchObject({ isUnsubscribed: true });
  });

  it('half-closes a replay call at its maximum age, and waits for acknowledgments before it closes the call', async () => {
    const server = new MemorySessions();
    start(server, new NumberedSource(), { maxAgeMs: 60_000 });
    await time.pass(60_000);
    expect(server.call).toMatchObject({ halfClosed: true, isUnsubscribed: false });
    server.call.ack(1, 2, 3);
    await time.pass(500);
    expect(server.call).toMatchObject({ received: [1, 2, 3, 4], isUnsubscribed: false });
    server.call.ack(4);
    expect(server.call.isUnsubscribed).toBe(true);
    await time.pass(0);
    expect(server.call.received).toEqual([5, 6, 7, 8]);
    await time.pass(2_000);
    expect(server.calls).toHaveLength(2);
  });

  it('waits at most one second for acknowledgments at the maximum age of a replay call, then resends the unacknowledged messages on the next call', async () => {
    const server = new MemorySessions();
    start(server, new NumberedSource(), { maxAgeMs: 60_000 });
    await time.pass(61_000);
    expect(server.calls[0]).toMatchObject({ isUnsubscribed: true });
    expect(server.calls).toHaveLength(2);
    expect(server.call.received).toEqual([1, 2, 3, 4]);
  });
});

describe('scope of a replay session', () => {
  it('shares one stream scope among all calls of a replay session, and reports its end to the host once', async () => {
    const server = new MemorySessions();
    const { ends } = start(server, new NumberedSource());
    const scope = server.call.scope!;
    const outcomes: string[] = [];
    scope.hosts.add({ resumesIn: () => undefined, ended: (how) => void outcomes.push(how) });
    await turn();
    server.call.ack(1, 2);
    expect(scope).toMatchObject({ delivered: 2, resumes: 0 });
    server.call.sink.error(lost);
    await time.pass(100);
    expect(server.call.scope).toBe(scope);
    expect(scope.resumes).toBe(1);
    expect(outcomes).toEqual([]);
    scope.fail(lost);
    scope.fail(lost);
    scope.complete();
    expect(outcomes).toEqual(['failed']);
    expect(ends).toEqual([lost]);
  });

  it('stops reading the source if the host completes a replay session, and completes the session after all acknowledgments', async () => {
    const server = new MemorySessions();
    const source = new NumberedSource();
    const { ends } = start(server, source);
    await turn();
    server.call.scope!.complete();
    await turn();
    expect(source.returned).toBe(1);
    expect(server.call).toMatchObject({ halfClosed: true, isUnsubscribed: false });
    server.call.ack(1, 2, 3);
    expect(ends).toEqual([]);
    server.call.ack(4);
    expect(ends).toEqual(['complete']);
    expect(server.call).toMatchObject({ received: [1, 2, 3, 4], isUnsubscribed: true });
  });

  it.each([
    ['before', 59_999],
    ['after', 60_000],
  ])(
    'waits for acknowledgments beyond the maximum age of a replay call if the host completes the session just %s that age',
    async (_, ms) => {
      const server = new MemorySessions();
      const { ends } = start(server, new NumberedSource(), { maxAgeMs: 60_000 });
      await time.pass(ms);
      server.call.scope!.complete();
      await time.pass(60_000);
      expect(ends).toEqual([]);
      server.call.ack(1, 2, 3, 4);
      expect(ends).toEqual(['complete']);
      expect(server.calls).toHaveLength(1);
      expect(time.pending).toBe(0);
    },
  );

  it('completes a replay session at once if its host completes it while all messages are acknowledged', async () => {
    const server = new MemorySessions();
    const { ends } = start(server, NEVER);
    server.call.scope!.complete();
    expect(ends).toEqual(['complete']);
  });

  it.each<[string, (call: MemoryCall) => void, unknown]>([
    ['lost', (call) => call.sink.error(lost), lost],
    ['ended cleanly', (call) => call.sink.complete(), expect.objectContaining({ reason: 'unacknowledged' })],
  ])(
    'fails a replay session if its host completes it and the call is %s before all messages are acknowledged',
    async (_, end, error) => {
      const server = new MemorySessions();
      const { ends } = start(server, new NumberedSource());
      await turn();
      server.call.scope!.complete();
      end(server.call);
      expect(ends).toEqual([error]);
      expect(time.pending).toBe(0);
    },
  );

  it('fails a replay session if its host completes it during a backoff while messages are unacknowledged, and completes the session otherwise', async () => {
    const server = new MemorySessions();
    const { ends } = start(server, new NumberedSource());
    await turn();
    server.call.sink.error(lost);
    server.call.scope!.complete();
    expect(ends).toEqual([lost]);
    const idle = new MemorySessions();
    const other = start(idle, NEVER);
    idle.call.sink.error(lost);
    idle.call.scope!.complete();
    expect(other.ends).toEqual(['complete']);
  });

  it('fails a replay session if its host completes it at the start of a call while messages are unacknowledged, and completes the session otherwise', async () => {
    const server = new MemorySessions();
    const { ends } = start(server, new NumberedSource());
    await turn();
    server.call.sink.error(lost);
    server.onBegin = ({ scope }) => scope?.complete();
    await time.pass(100);
    expect(ends).toEqual([lost]);
    const fresh = new MemorySessions();
    fresh.onBegin = ({ scope }) => scope?.complete();
    expect(start(fresh, new NumberedSource()).ends).toEqual(['complete']);
    expect(time.pending).toBe(0);
  });

  it('ends a backoff of a replay session at the deadline, so that the next call reports the exceeded deadline', async () => {
    const server = new MemorySessions();
    start(server, new NumberedSource());
    server.call.scope!.deadline = 40;
    server.call.sink.error(lost);
    await time.pass(39);
    expect(server.calls).toHaveLength(1);
    await time.pass(1);
    expect(server.calls).toHaveLength(2);
  });
});
