import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { BusyClock } from '../../testing/busy-clock.js';
import {
  INCOMPLETE_REQUEST_MS,
  QUIET_MS,
  ServerConnection,
  type ConnectionLifetime,
  type ConnectionSession,
} from './server-connection.js';

/** A session of a client that may answer or not. */
class Session {
  closed = false;
  destroyed = false;
  answers = true;
  readonly probes: string[] = [];

  close(): void {
    this.closed = true;
  }

  ping(answered: (error: null) => void): void {
    // As Node does.
    if (this.destroyed) throw new Error('The session has been destroyed');
    if (this.closed || this.answers)
      queueMicrotask(() => {
        answered(null);
      });
    this.probes.push(this.closed ? 'ping of a closed session' : 'ping');
  }

  settings(changed: object, answered: () => void): void {
    if (this.answers) queueMicrotask(answered);
    this.probes.push(`settings ${JSON.stringify(changed)}`);
  }
}

function connection(limits: Partial<ConnectionLifetime> = {}, chance = 0.5) {
  const clock = new BusyClock();
  const session = new Session();
  const socket = Object.assign(new PassThrough(), { remoteAddress: '10.0.0.7', remotePort: 4711, bytesRead: 0 });
  const log: string[] = [];
  const made = new ServerConnection(session as unknown as ConnectionSession, socket, {
    clock,
    random: () => chance,
    limits: {
      maxConnectionAgeMs: undefined,
      maxConnectionAgeGraceMs: undefined,
      connectionIdleTimeoutMs: undefined,
      keepaliveTimeMs: Infinity,
      keepaliveTimeoutMs: 20_000,
      ...limits,
    },
    endCallsOf: (peer) => log.push(`calls of ${peer} ended`),
    reportEnd: (peer, because) => log.push(`${peer} ${because}`),
  });
  return { connection: made, clock, session, socket, log };
}

function openStream(made: ServerConnection): () => void {
  const listeners: (() => void)[] = [];
  made.noteStream({ once: (_event, listener) => listeners.push(listener) });
  return () => {
    for (const listener of listeners) listener();
  };
}

describe('the age of a connection', () => {
  it.each([
    [0, 9_000],
    [0.5, 10_000],
    [0.999_999, 11_000],
  ])('is what was asked for, ±10 %% (chance %d)', async (chance, endsAt) => {
    const { clock, session, log } = connection({ maxConnectionAgeMs: 10_000 }, chance);
    await clock.advanceAsync(endsAt - 1);
    expect(session.closed).toBe(false);
    await clock.advanceAsync(1);
    expect(session.closed).toBe(true);
    expect(log).toEqual(['10.0.0.7:4711 age']);
  });

  it('waits for what the peer had sent by then, not for ever', async () => {
    const { clock, session } = connection({ maxConnectionAgeMs: 10_000 });
    session.answers = false;
    await clock.advanceAsync(10_000 + QUIET_MS - 1);
    expect(session.probes).toEqual(['ping']);
    expect(session.closed).toBe(false);
    await clock.advanceAsync(1);
    expect(session.closed).toBe(true);
  });

  it('without a grace lets calls go on for ever', async () => {
    const { clock, socket, log } = connection({ maxConnectionAgeMs: 10_000 });
    await clock.advanceAsync(10 ** 9);
    expect(log).toEqual(['10.0.0.7:4711 age']);
    expect(socket.destroyed).toBe(false);
  });

  it('ends calls by their status when the grace is over, and the connection a moment later', async () => {
    const { clock, socket, log } = connection({ maxConnectionAgeMs: 10_000, maxConnectionAgeGraceMs: 500 });
    await clock.advanceAsync(10_499);
    expect(log).toEqual(['10.0.0.7:4711 age']);
    await clock.advanceAsync(1);
    expect(log.slice(1)).toEqual(['10.0.0.7:4711 age-grace', 'calls of 10.0.0.7:4711 ended']);
    expect(socket.destroyed).toBe(false);
    await clock.advanceAsync(100);
    expect(socket.destroyed).toBe(true);
  });

  it('does not speak of a grace where no call is open', async () => {
    const { clock, session, log } = connection({ maxConnectionAgeMs: 10_000, maxConnectionAgeGraceMs: 500 });
    await clock.advanceAsync(10_000);
    session.destroyed = true;
    await clock.advanceAsync(500);
    expect(log).toEqual(['10.0.0.7:4711 age']);
  });

  it('is no matter any more when the connection was told to go before', async () => {
    const { connection: made, clock, log } = connection({ maxConnectionAgeMs: 10_000, maxConnectionAgeGraceMs: 0 });
    made.end();
    await clock.advanceAsync(20_000);
    expect(log).toEqual([]);
  });
});

describe('the idle time of a connection', () => {
  it('ends it when no stream was open for so long', async () => {
    const { clock, session, log } = connection({ connectionIdleTimeoutMs: 5_000 });
    await clock.advanceAsync(4_999);
    expect(session.closed).toBe(false);
    await clock.advanceAsync(1);
    expect(session.closed).toBe(true);
    expect(log).toEqual(['10.0.0.7:4711 idle']);
  });

  it('is of no matter to a session that was destroyed before', async () => {
    const { clock, session, log } = connection({ connectionIdleTimeoutMs: 5_000, maxConnectionAgeMs: 10_000 });
    session.destroyed = true;
    await clock.advanceAsync(20_000);
    expect(log).toEqual([]);
  });

  it('is not over when a request lay unread: what the peer had sent by then is read first', async () => {
    const { connection: made, clock, session, log } = connection({ connectionIdleTimeoutMs: 5_000 });
    session.answers = false;
    await clock.advanceAsync(5_500);
    const endStream = openStream(made);
    await clock.advanceAsync(QUIET_MS);
    expect(session.closed).toBe(false);
    endStream();
    await clock.advanceAsync(4_999);
    expect(log).toEqual([]);
    await clock.advanceAsync(1 + QUIET_MS);
    expect(log).toEqual(['10.0.0.7:4711 idle']);
  });

  it('begins again with a call that came and went while the peer was heard out', async () => {
    const { connection: made, clock, session } = connection({ connectionIdleTimeoutMs: 5_000 });
    session.answers = false;
    await clock.advanceAsync(5_500);
    openStream(made)();
    session.answers = true;
    await clock.advanceAsync(4_999);
    expect(session.closed).toBe(false);
    await clock.advanceAsync(1);
    expect(session.closed).toBe(true);
  });

  it('begins again when the last stream has ended', async () => {
    const { connection: made, clock, session } = connection({ connectionIdleTimeoutMs: 5_000 });
    const endFirst = openStream(made);
    const endSecond = openStream(made);
    await clock.advanceAsync(60_000);
    endFirst();
    await clock.advanceAsync(60_000);
    expect(session.closed).toBe(false);
    endSecond();
    await clock.advanceAsync(4_999);
    expect(session.closed).toBe(false);
    await clock.advanceAsync(1);
    expect(session.closed).toBe(true);
  });

  it('is waited for no more where the connection was told to go, or a stream is open', async () => {
    const { connection: made, clock } = connection({ connectionIdleTimeoutMs: 5_000 });
    await clock.advanceAsync(1_000);
    openStream(made)();
    const endStream = openStream(made);
    await clock.advanceAsync(4_000);
    expect(clock.pending).toBe(0);
    made.end();
    endStream();
    expect(clock.pending).toBe(0);
  });

  it('is that since the last of many calls, with one timer for all of them', async () => {
    const { connection: made, clock, session } = connection({ connectionIdleTimeoutMs: 5_000 });
    for (let call = 0; call < 10; call += 1) {
      await clock.advanceAsync(1_000);
      openStream(made)();
      expect(clock.pending).toBe(1);
    }
    await clock.advanceAsync(4_999);
    expect(session.closed).toBe(false);
    await clock.advanceAsync(1);
    expect(session.closed).toBe(true);
  });
});

describe('keepalive of a connection', () => {
  const KEEPALIVE = { keepaliveTimeMs: 60_000, keepaliveTimeoutMs: 20_000 };

  it('pings in time, as long as there are answers', async () => {
    const { clock, session, socket } = connection(KEEPALIVE);
    await clock.advanceAsync(60_000 * 3);
    expect(session.probes).toEqual(['ping', 'ping', 'ping']);
    expect(socket.destroyed).toBe(false);
  });

  it('ends a connection without an answer in time, and says so', async () => {
    const { clock, session, socket, log } = connection(KEEPALIVE);
    session.answers = false;
    await clock.advanceAsync(79_999);
    expect(socket.destroyed).toBe(false);
    await clock.advanceAsync(1);
    expect(socket.destroyed).toBe(true);
    expect(log).toEqual(['10.0.0.7:4711 keepalive']);
  });

  it('is answered by what was read after a standstill of this process, whatever part of it that covers', async () => {
    for (const stillAt of [60_000, 65_000, 79_900]) {
      const { clock, session, socket } = connection(KEEPALIVE);
      session.answers = false;
      const ping = session.ping.bind(session);
      session.ping = (answered) => {
        ping(answered);
        // It lies in the socket while this process stands still, and is read behind the timers.
        clock.setTimer(() => answered(null), 20_000);
      };
      await clock.advanceAsync(stillAt);
      clock.block(120_000);
      await clock.advanceAsync(125_000);
      expect(socket.destroyed).toBe(false);
    }
  });

  it('goes on by settings, which change nothing, when the connection was told to go: Node sends no pings then', async () => {
    const { connection: made, clock, session, socket, log } = connection(KEEPALIVE);
    made.end();
    await clock.advanceAsync(60_000 * 2);
    expect(session.probes).toEqual(['settings {}', 'settings {}']);
    expect(socket.destroyed).toBe(false);
    session.answers = false;
    await clock.advanceAsync(80_000);
    expect(socket.destroyed).toBe(true);
    expect(log).toEqual(['10.0.0.7:4711 keepalive']);
  });

  it('ends what cannot be probed any more, and does not end by itself', async () => {
    const { connection: made, clock, session, socket } = connection(KEEPALIVE);
    made.end();
    session.destroyed = true;
    await clock.advanceAsync(80_000);
    expect(session.probes).toEqual([]);
    expect(socket.destroyed).toBe(true);
  });

  it('is off where the time has no end', () => {
    expect(connection({ keepaliveTimeMs: Infinity }).clock.pending).toBe(0);
  });
});

describe('a request that does not come to its end', () => {
  const QUIET = () => true;

  /** A session as Node has it, with streams of these states. */
  function withStreams(...streams: { headersSent: boolean; state: { remoteClose: number } }[]) {
    const made = connection();
    made.connection.end();
    Object.assign(made.session, { [Symbol('state')]: { streams: new Map(streams.entries()) } });
    return made;
  }
  const half = { headersSent: false, state: { remoteClose: 0 } };

  it('is not waited for when nothing comes any more', async () => {
    const { connection: made, clock, socket, log } = withStreams(half, half);
    made.endHalfRequests(QUIET);
    await clock.advanceAsync(INCOMPLETE_REQUEST_MS - 1);
    expect(socket.destroyed).toBe(false);
    await clock.advanceAsync(1);
    expect(socket.destroyed).toBe(true);
    expect(log).toEqual(['10.0.0.7:4711 incomplete-request']);
    expect(clock.pending).toBe(0);
  });

  it('is waited for when some of it lay unread while this process stood still', async () => {
    const { connection: made, clock, socket } = withStreams(half);
    made.endHalfRequests(QUIET);
    await clock.advanceAsync(100);
    clock.setTimer(() => (socket.bytesRead += 1), INCOMPLETE_REQUEST_MS);
    clock.block(3_000);
    await clock.advanceAsync(3_000);
    expect(socket.destroyed).toBe(false);
  });

  it('is waited for as long as some of it comes', async () => {
    const { connection: made, clock, socket } = withStreams(half);
    made.endHalfRequests(QUIET);
    for (let part = 0; part < 5; part += 1) {
      socket.bytesRead += 1;
      await clock.advanceAsync(INCOMPLETE_REQUEST_MS);
      expect(socket.destroyed).toBe(false);
    }
    await clock.advanceAsync(INCOMPLETE_REQUEST_MS);
    expect(socket.destroyed).toBe(true);
  });

  it.each([
    ['a request that is whole, whose handler nobody may know of', { headersSent: false, state: { remoteClose: 1 } }],
    ['an answer that is on its way', { headersSent: true, state: { remoteClose: 0 } }],
  ])('is waited for beside %s', async (_what, other) => {
    const { connection: made, clock, socket } = withStreams(half, other);
    made.endHalfRequests(QUIET);
    await clock.advanceAsync(INCOMPLETE_REQUEST_MS * 3);
    expect(socket.destroyed).toBe(false);
  });

  it('is waited for while a call is open', async () => {
    const { connection: made, clock, socket } = withStreams(half);
    let quiet = false;
    made.endHalfRequests(() => quiet);
    await clock.advanceAsync(INCOMPLETE_REQUEST_MS * 3);
    expect(socket.destroyed).toBe(false);
    quiet = true;
    await clock.advanceAsync(INCOMPLETE_REQUEST_MS);
    expect(socket.destroyed).toBe(true);
  });

  it('is no matter where the session has ended by itself', async () => {
    const { connection: made, clock, session, log } = withStreams(half);
    made.endHalfRequests(QUIET);
    session.destroyed = true;
    await clock.advanceAsync(INCOMPLETE_REQUEST_MS);
    expect(log).toEqual([]);
    expect(clock.pending).toBe(0);
  });
});

describe('the end of a connection', () => {
  it('does not wait for a peer that says nothing after ours', async () => {
    const { clock, socket } = connection();
    socket.end();
    await clock.advanceAsync(QUIET_MS - 1);
    expect(socket.destroyed).toBe(false);
    await clock.advanceAsync(1);
    expect(socket.destroyed).toBe(true);
  });

  it('waits for a peer whose data lay unread while this process stood still', async () => {
    const { clock, socket } = connection();
    socket.end();
    await clock.advanceAsync(100);
    clock.setTimer(() => (socket.bytesRead += 13), QUIET_MS);
    clock.block(5_000);
    await clock.advanceAsync(5_000);
    expect(socket.destroyed).toBe(false);
  });

  it('waits for a peer that still reads, and says so by what it sends', async () => {
    const { clock, socket } = connection();
    socket.end();
    for (let part = 0; part < 5; part += 1) {
      await clock.advanceAsync(QUIET_MS / 2);
      socket.bytesRead += 13;
      await clock.advanceAsync(QUIET_MS / 2);
      expect(socket.destroyed).toBe(false);
    }
    await clock.advanceAsync(QUIET_MS * 2);
    expect(socket.destroyed).toBe(true);
  });

  it('leaves no timer', async () => {
    const limits = { maxConnectionAgeMs: 1_000, connectionIdleTimeoutMs: 1_000, keepaliveTimeMs: 1_000 };
    const { connection: made, clock } = connection(limits);
    expect(clock.pending).toBe(3);
    made.destroy();
    await clock.advanceAsync(0);
    expect(clock.pending).toBe(0);
  });
});
