import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { BusyClock } from '../../../../../test/unit-support/busy-clock.js';
import {
  PEER_QUIET_MS,
  ServerConnection,
  type ConnectionLifetime,
  type ConnectionSession,
} from './server-connection.js';

/** Imitates an HTTP/2 session. The client answers only while `answers` is true; `ping()` of a closed session always succeeds. */
class Session {
  closed = false;
  destroyed = false;
  answers = true;
  readonly probes: string[] = [];

  close(): void {
    this.closed = true;
  }

  ping(answered: (error: null) => void): void {
    // Node also throws if the session has been destroyed.
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

function makeConnection(limits: Partial<ConnectionLifetime> = {}, chance = 0.5) {
  const clock = new BusyClock();
  const session = new Session();
  const socket = Object.assign(new PassThrough(), { remoteAddress: '10.0.0.7', remotePort: 4711, bytesRead: 0 });
  const log: string[] = [];
  const events = new EventHub<GrpcServerEvent>({}, () => clock.epoch());
  events.listen((event) => {
    if (event.type === 'connection-end') log.push(`${event.peer} ${event.reason}`);
  }, false);
  const made = new ServerConnection(
    session as unknown as ConnectionSession,
    socket,
    {
      maxConnectionAgeMs: undefined,
      maxConnectionAgeGraceMs: undefined,
      connectionIdleTimeoutMs: undefined,
      keepaliveTimeMs: Infinity,
      keepaliveTimeoutMs: 20_000,
      ...limits,
    },
    {
      clock,
      random: () => chance,
      events,
      endCallsOf: (peer) => log.push(`calls of ${peer} ended`),
    },
  );
  return { connection: made, clock, session, socket, log };
}

function openStream(made: ServerConnection): () => void {
  const listeners: (() => void)[] = [];
  made.noteStream({ once: (_event, listener) => listeners.push(listener) });
  return () => {
    for (const listener of listeners) listener();
  };
}

describe('maxConnectionAgeMs', () => {
  it.each([
    [0, 9_000],
    [0.5, 10_000],
    [0.999_999, 11_000],
  ])('closes a connection to the server at the configured age ±10%% (random number %d)', async (chance, endsAt) => {
    const { clock, session, log } = makeConnection({ maxConnectionAgeMs: 10_000 }, chance);
    await clock.advanceAsync(endsAt - 1);
    expect(session.closed).toBe(false);
    await clock.advanceAsync(1);
    expect(session.closed).toBe(true);
    expect(log).toEqual(['10.0.0.7:4711 age']);
  });

  it('waits at most PEER_QUIET_MS for the acknowledgment of a ping before it closes an old connection', async () => {
    const { clock, session } = makeConnection({ maxConnectionAgeMs: 10_000 });
    session.answers = false;
    await clock.advanceAsync(10_000 + PEER_QUIET_MS - 1);
    expect(session.probes).toEqual(['ping']);
    expect(session.closed).toBe(false);
    await clock.advanceAsync(1);
    expect(session.closed).toBe(true);
  });

  it('lets the calls of an old connection continue without a time limit if maxConnectionAgeGraceMs is not set', async () => {
    const { clock, socket, log } = makeConnection({ maxConnectionAgeMs: 10_000 });
    await clock.advanceAsync(10 ** 9);
    expect(log).toEqual(['10.0.0.7:4711 age']);
    expect(socket.destroyed).toBe(false);
  });

  it('ends the calls of an old connection after the grace period, and destroys its socket when its peer has had time to read', async () => {
    const { clock, socket, log } = makeConnection({ maxConnectionAgeMs: 10_000, maxConnectionAgeGraceMs: 500 });
    await clock.advanceAsync(10_499);
    expect(log).toEqual(['10.0.0.7:4711 age']);
    await clock.advanceAsync(1);
    expect(log.slice(1)).toEqual(['10.0.0.7:4711 age-grace', 'calls of 10.0.0.7:4711 ended']);
    // The statuses wait in the blocked process, and can be sent only afterwards.
    clock.block(60_000);
    await clock.advanceAsync(60_000);
    expect(socket.destroyed).toBe(false);
    await clock.advanceAsync(2_000);
    expect(socket.destroyed).toBe(true);
  });

  it('does not report the end of the grace period of an old connection if its session has already closed', async () => {
    const { clock, session, log } = makeConnection({ maxConnectionAgeMs: 10_000, maxConnectionAgeGraceMs: 500 });
    await clock.advanceAsync(10_000);
    session.destroyed = true;
    await clock.advanceAsync(500);
    expect(log).toEqual(['10.0.0.7:4711 age']);
  });

  it('ignores the maximum age of a connection that is already ending', async () => {
    const { connection: made, clock, log } = makeConnection({ maxConnectionAgeMs: 10_000, maxConnectionAgeGraceMs: 0 });
    made.end();
    await clock.advanceAsync(20_000);
    expect(log).toEqual([]);
  });
});

describe('connectionIdleTimeoutMs', () => {
  it('closes a connection that has had no open stream for the duration of the idle timeout', async () => {
    const { clock, session, log } = makeConnection({ connectionIdleTimeoutMs: 5_000 });
    await clock.advanceAsync(4_999);
    expect(session.closed).toBe(false);
    await clock.advanceAsync(1);
    expect(session.closed).toBe(true);
    expect(log).toEqual(['10.0.0.7:4711 idle']);
  });

  it('ignores the idle timeout and the maximum age of a destroyed session', async () => {
    const { clock, session, log } = makeConnection({ connectionIdleTimeoutMs: 5_000, maxConnectionAgeMs: 10_000 });
    session.destroyed = true;
    await clock.advanceAsync(20_000);
    expect(log).toEqual([]);
  });

  it('reads pending data before it closes an idle connection, and keeps the connection if the data is a request', async () => {
    const { connection: made, clock, session, log } = makeConnection({ connectionIdleTimeoutMs: 5_000 });
    session.answers = false;
    await clock.advanceAsync(5_500);
    const endStream = openStream(made);
    await clock.advanceAsync(PEER_QUIET_MS);
    expect(session.closed).toBe(false);
    endStream();
    await clock.advanceAsync(4_999);
    expect(log).toEqual([]);
    await clock.advanceAsync(1 + PEER_QUIET_MS);
    expect(log).toEqual(['10.0.0.7:4711 idle']);
  });

  it('restarts the idle timeout if a call starts and ends while pending data is read', async () => {
    const { connection: made, clock, session } = makeConnection({ connectionIdleTimeoutMs: 5_000 });
    session.answers = false;
    await clock.advanceAsync(5_500);
    openStream(made)();
    session.answers = true;
    await clock.advanceAsync(4_999);
    expect(session.closed).toBe(false);
    await clock.advanceAsync(1);
    expect(session.closed).toBe(true);
  });

  it('restarts the idle timeout when the last stream of a connection ends', async () => {
    const { connection: made, clock, session } = makeConnection({ connectionIdleTimeoutMs: 5_000 });
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

  it('starts no idle timer for a connection while a stream is open or after the connection began to close', async () => {
    const { connection: made, clock } = makeConnection({ connectionIdleTimeoutMs: 5_000 });
    await clock.advanceAsync(1_000);
    openStream(made)();
    const endStream = openStream(made);
    await clock.advanceAsync(4_000);
    expect(clock.pending).toBe(0);
    made.end();
    endStream();
    expect(clock.pending).toBe(0);
  });

  it('uses a single timer to measure the idle timeout of a connection from the last of many calls', async () => {
    const { connection: made, clock, session } = makeConnection({ connectionIdleTimeoutMs: 5_000 });
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

describe('keepalive', () => {
  const KEEPALIVE = { keepaliveTimeMs: 60_000, keepaliveTimeoutMs: 20_000 };

  it('sends pings at the keepalive interval while the peer acknowledges them', async () => {
    const { clock, session, socket } = makeConnection(KEEPALIVE);
    await clock.advanceAsync(60_000 * 3);
    expect(session.probes).toEqual(['ping', 'ping', 'ping']);
    expect(socket.destroyed).toBe(false);
  });

  it('closes and reports a connection whose peer does not acknowledge a ping in time', async () => {
    const { clock, session, socket, log } = makeConnection(KEEPALIVE);
    session.answers = false;
    await clock.advanceAsync(79_999);
    expect(socket.destroyed).toBe(false);
    await clock.advanceAsync(1);
    expect(socket.destroyed).toBe(true);
    expect(log).toEqual(['10.0.0.7:4711 keepalive']);
  });

  it('accepts a ping acknowledgment that is read only after the process was blocked, regardless of when the block starts', async () => {
    for (const blockedAt of [60_000, 65_000, 79_900]) {
      const { clock, session, socket } = makeConnection(KEEPALIVE);
      session.answers = false;
      const ping = session.ping.bind(session);
      session.ping = (answered) => {
        ping(answered);
        // The answer is in the socket while the process is blocked. Node runs the timers before it reads the answer.
        clock.setTimer(() => answered(null), 20_000);
      };
      await clock.advanceAsync(blockedAt);
      clock.block(120_000);
      await clock.advanceAsync(125_000);
      expect(socket.destroyed).toBe(false);
    }
  });

  it('probes the peer with an empty SETTINGS frame after GOAWAY, because Node sends no more pings', async () => {
    const { connection: made, clock, session, socket, log } = makeConnection(KEEPALIVE);
    made.end();
    await clock.advanceAsync(60_000 * 2);
    expect(session.probes).toEqual(['settings {}', 'settings {}']);
    expect(socket.destroyed).toBe(false);
    session.answers = false;
    await clock.advanceAsync(80_000);
    expect(socket.destroyed).toBe(true);
    expect(log).toEqual(['10.0.0.7:4711 keepalive']);
  });

  it('destroys the socket of a session that can no longer be probed', async () => {
    const { connection: made, clock, session, socket } = makeConnection(KEEPALIVE);
    made.end();
    session.destroyed = true;
    await clock.advanceAsync(80_000);
    expect(session.probes).toEqual([]);
    expect(socket.destroyed).toBe(true);
  });

  it('sends no keepalive pings if keepaliveTimeMs is Infinity', () => {
    expect(makeConnection({ keepaliveTimeMs: Infinity }).clock.pending).toBe(0);
  });
});

describe('end of a connection', () => {
  it('destroys the socket if the peer sends nothing after the FIN of the server', async () => {
    const { clock, socket } = makeConnection();
    socket.end();
    await clock.advanceAsync(PEER_QUIET_MS - 1);
    expect(socket.destroyed).toBe(false);
    await clock.advanceAsync(1);
    expect(socket.destroyed).toBe(true);
  });

  it('keeps the socket after the FIN of the server if data from the peer arrived while the process was blocked', async () => {
    const { clock, socket } = makeConnection();
    socket.end();
    await clock.advanceAsync(100);
    clock.setTimer(() => (socket.bytesRead += 13), PEER_QUIET_MS);
    clock.block(5_000);
    await clock.advanceAsync(5_000);
    expect(socket.destroyed).toBe(false);
  });

  it('keeps the socket after the FIN of the server while the peer still sends data', async () => {
    const { clock, socket } = makeConnection();
    socket.end();
    for (let part = 0; part < 5; part += 1) {
      await clock.advanceAsync(PEER_QUIET_MS / 2);
      socket.bytesRead += 13;
      await clock.advanceAsync(PEER_QUIET_MS / 2);
      expect(socket.destroyed).toBe(false);
    }
    await clock.advanceAsync(PEER_QUIET_MS * 2);
    expect(socket.destroyed).toBe(true);
  });

  it('clears all timers of a connection when it is destroyed', async () => {
    const limits = { maxConnectionAgeMs: 1_000, connectionIdleTimeoutMs: 1_000, keepaliveTimeMs: 1_000 };
    const { connection: made, clock } = makeConnection(limits);
    expect(clock.pending).toBe(3);
    made.destroy();
    await clock.advanceAsync(0);
    expect(clock.pending).toBe(0);
  });
});
