import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../../test/unit-support/seeded-random.mjs';
import {
  decideReplacement,
  type Replacements,
  nextSuspicion,
  NOT_SUSPECTED,
  type SuspicionEvent,
  type SuspicionState,
} from './next-suspicion.js';

const CLIENTS = 500;
const CALLS_PER_SECOND = 2;
const DEADLINE_MS = 1_000;
/** Server time per event, in milliseconds. Calls use a fifth of the server's time; TLS handshakes with all clients take five seconds. */
const COST_MS = { call: 0.2, ping: 0.05, handshake: 10 };
const STEP_MS = 10;
const FAULT_AT_MS = 5_000;
const POLL_INTERVAL_MS = 250;

/** Creates the dead-connection detector of a client. */
type CreateDetector = (client: Client) => { timedOut(now: number): void; check(now: number): void };

interface Connection {
  ready: boolean;
  open: boolean;
  bytesRead: number;
}

interface Call {
  readonly begunAt: number;
  readonly connection: Connection;
  answered: boolean;
}

/** One server with a queue. It also processes calls that timed out, and processes nothing while it is stalled. */
class Server {
  handshakes = 0;
  private readonly queue: { readonly costMs: number; readonly connection: Connection; readonly done: () => void }[] =
    [];
  private head = 0;
  private spareMs = 0;

  enqueue(event: keyof typeof COST_MS, connection: Connection, done: () => void = () => undefined): void {
    if (event === 'handshake') this.handshakes += 1;
    this.queue.push({ costMs: COST_MS[event], connection, done });
  }

  work(): void {
    this.spareMs += STEP_MS;
    for (
      let next = this.queue[this.head];
      next !== undefined && next.costMs <= this.spareMs;
      next = this.queue[this.head]
    ) {
      this.spareMs -= next.costMs;
      this.head += 1;
      if (next.connection.open) next.connection.bytesRead += 1;
      next.done();
    }
    if (this.head === this.queue.length) this.spareMs = 0;
  }
}

class Client {
  connection: Connection = { ready: true, open: true, bytesRead: 0 };
  ended = 0;
  readonly calls: Call[] = [];
  private readonly detector: ReturnType<CreateDetector>;

  constructor(
    readonly server: Server,
    readonly random: () => number,
    createDetector: CreateDetector,
  ) {
    this.detector = createDetector(this);
  }

  connect(): Connection {
    const connection: Connection = { ready: false, open: true, bytesRead: 0 };
    this.server.enqueue('handshake', connection, () => (connection.ready = true));
    return connection;
  }

  use(next: Connection): void {
    this.connection.open = false;
    this.connection = next;
    this.ended += 1;
  }

  step(now: number, report: (begunAt: number, answered: boolean) => void): void {
    if (this.random() < (CALLS_PER_SECOND * STEP_MS) / 1_000) this.call(now);
    for (let call = this.calls[0]; call !== undefined && call.begunAt + DEADLINE_MS < now; call = this.calls[0]) {
      this.calls.shift();
      report(call.begunAt, call.answered);
      if (!call.answered && call.connection === this.connection && this.connection.ready) this.detector.timedOut(now);
    }
    this.detector.check(now);
  }

  private call(begunAt: number): void {
    const { connection } = this;
    const call: Call = { begunAt, connection, answered: false };
    this.calls.push(call);
    if (!connection.ready) return;
    // A response after the deadline has no effect, because the call has already been reported.
    this.server.enqueue('call', connection, () => (call.answered = connection.open));
  }
}

/** This library's detector. */
const libraryDetector: CreateDetector = (client) => {
  let state: SuspicionState = NOT_SUSPECTED;
  let replacements: Replacements = [];
  let replacement: Connection | undefined;
  let checkAt = client.random() * POLL_INTERVAL_MS;
  const apply = (event: SuspicionEvent, now: number): void => {
    const before = state;
    state = nextSuspicion(before, event, client.random);
    if (state.kind === 'probed' && before.kind !== 'probed') client.server.enqueue('call', client.connection);
    if (state.kind === 'pinged' && before.kind === 'probed') client.server.enqueue('ping', client.connection);
    if (state.kind === 'dead' && before.kind === 'pinged') {
      const decision = decideReplacement(replacements, now);
      ({ replacements } = decision);
      if (decision.replace) replacement = client.connect();
      else apply({ type: 'cleared' }, now);
    }
    if (state.kind === 'abandoned' && replacement !== undefined) {
      client.use(replacement);
      [state, replacement] = [NOT_SUSPECTED, undefined];
    }
    if (state.kind === 'trusted' || state.kind === 'suspected') replacement = undefined;
  };
  return {
    timedOut: (at) => {
      apply({ type: 'timed-out', at, bytesRead: client.connection.bytesRead, waitedMs: DEADLINE_MS }, at);
    },
    check: (at) => {
      if (at < checkAt) return;
      checkAt += POLL_INTERVAL_MS;
      const { bytesRead } = client.connection;
      apply({ type: 'check', at, bytesRead, late: false, otherReady: replacement?.ready === true }, at);
    },
  };
};

/** Naive detector: replaces the connection if a call timed out and no byte arrived while the call waited. */
const naiveDetector: CreateDetector = (client) => {
  let seen = { bytesRead: 0, at: 0 };
  return {
    timedOut: (now) => {
      if (now - seen.at >= DEADLINE_MS) client.use(client.connect());
    },
    check: (now) => {
      if (client.connection.bytesRead !== seen.bytesRead) seen = { bytesRead: client.connection.bytesRead, at: now };
    },
  };
};

interface Fault {
  /** Time for which the server processes nothing. */
  readonly stallMs: number;
  /** True if the network silently drops every connection. */
  readonly dropsConnections?: boolean;
}

function simulate({ stallMs, dropsConnections = false }: Fault, createDetector: CreateDetector, afterMs = 40_000) {
  const random = seededRandom(11);
  const server = new Server();
  const clients = Array.from({ length: CLIENTS }, () => new Client(server, random, createDetector));
  const backAt = FAULT_AT_MS + stallMs;
  const calls = { before: { begun: 0, answered: 0 }, soon: { begun: 0, answered: 0 }, late: { begun: 0, answered: 0 } };
  const report = (begunAt: number, answered: boolean): void => {
    let when: keyof typeof calls | undefined;
    if (begunAt < FAULT_AT_MS - DEADLINE_MS) when = 'before';
    else if (begunAt >= backAt + afterMs - 10_000) when = 'late';
    else if (begunAt >= backAt + 1_500) when = 'soon';
    if (when === undefined) return;
    calls[when].begun += 1;
    if (answered) calls[when].answered += 1;
  };
  let lastEndedAt = 0;
  for (let now = 0; now < backAt + afterMs; now += STEP_MS) {
    if (dropsConnections && now === FAULT_AT_MS) for (const { connection } of clients) connection.open = false;
    for (const client of clients) {
      const { ended } = client;
      client.step(now, report);
      if (client.ended > ended) lastEndedAt = now;
    }
    if (now < FAULT_AT_MS || now >= backAt) server.work();
  }
  const share = ({ begun, answered }: (typeof calls)['before']) => answered / begun;
  return {
    before: share(calls.before),
    soon: share(calls.soon),
    late: share(calls.late),
    handshakes: server.handshakes,
    ended: clients.reduce((sum, { ended }) => sum + ended, 0),
    maxPerClient: Math.max(...clients.map(({ ended }) => ended)),
    lastEndedAfterMs: lastEndedAt - FAULT_AT_MS,
  };
}

describe('stalled server with 500 TLS clients', { timeout: 300_000 }, () => {
  it('keeps all connections during a stall of 5 s, and loses no call that starts at least 1.5 s after the stall', () => {
    expect(simulate({ stallMs: 5_000 }, libraryDetector)).toMatchObject({
      handshakes: 0,
      ended: 0,
      before: 1,
      soon: 1,
      late: 1,
    });
  });

  it('does not recover from a stall of 5 s if clients use the naive detector', () => {
    const result = simulate({ stallMs: 5_000 }, naiveDetector);
    expect(result.before).toBe(1);
    expect(result.late).toBeLessThan(0.01);
    expect(result.maxPerClient).toBeGreaterThan(5);
  });

  it('keeps all connections during a stall of 8 s, and opens no new connections', () => {
    expect(simulate({ stallMs: 8_000 }, libraryDetector)).toMatchObject({ handshakes: 0, ended: 0, soon: 1 });
  });

  it.each([12_000, 20_000, 60_000])(
    'recovers from a stall of %i ms, opens at most 500 extra connections, and replaces no existing connection',
    (stallMs) => {
      const result = simulate({ stallMs }, libraryDetector);
      expect(result.handshakes).toBeLessThanOrEqual(CLIENTS);
      expect(result).toMatchObject({ ended: 0, late: 1 });
    },
  );
});

describe('network that drops the connections of 500 clients', { timeout: 300_000 }, () => {
  it('replaces each dropped connection once within 20 s', () => {
    const result = simulate({ stallMs: 0, dropsConnections: true }, libraryDetector);
    expect(result).toMatchObject({ handshakes: CLIENTS, ended: CLIENTS, maxPerClient: 1, late: 1 });
    expect(result.lastEndedAfterMs).toBeLessThan(20_000);
  });
});
