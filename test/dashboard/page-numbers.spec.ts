import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';

const ASSETS = join(import.meta.dirname, '../../libs/resilient-grpc/assets/dashboard');
/** Imports a module of the page, untyped. */
const moduleOf = (name: string): Promise<any> => import(pathToFileURL(join(ASSETS, name)).href);
const { ClientState, assess, faultsOf, shownMs } = await moduleOf('client-state.js');
const { linkProblem, verdict } = await moduleOf('dashboard.js');
const { age, duration, moment, percent, rate, shortPath } = await moduleOf('format.js');
const { stretches } = await moduleOf('state-strip.js');

const MADE_AT = '2026-01-01T00:00:00.000Z';
const T = Date.parse(MADE_AT);
const FIELDS = ['at', 'started', 'succeeded', 'failed', 'waiting'];

function snapshot(more: Record<string, unknown> = {}) {
  return {
    createdAt: MADE_AT,
    connectivity: { state: 'READY', since: MADE_AT },
    history: [],
    waiting: 0,
    circuits: [],
    drain: { state: 'none' },
    recent: { windowMs: 45_000, ended: 0, failed: 0, codes: {} },
    counters: { started: 0, succeeded: 0, failed: 0 },
    ...more,
  };
}

/** A client that starts `perSecond` calls in each of `seconds` seconds; `failing` is the ratio of failed calls. */
function clientOf(perSecond: number, seconds: number, failing = 0) {
  const client = new ClientState('orders', FIELDS);
  for (let second = 0; second <= seconds; second++) {
    const started = perSecond * second;
    const counters = { started, succeeded: started * (1 - failing), failed: started * failing };
    client.take(snapshot({ counters, waiting: second }), T + second * 1_000);
  }
  return client;
}

describe('verdict', () => {
  it.each([
    [0, 0, ''],
    [0, 1, '1 client is healthy.'],
    [0, 2, 'All 2 clients are healthy.'],
    [1, 1, '1 of 1 client is unhealthy.'],
    [2, 3, '2 of 3 clients are unhealthy.'],
  ])('describes %d unhealthy clients of %d as "%s"', (bad, all, expected) => {
    expect(verdict(bad, all)).toBe(expected);
  });
});

describe('linkProblem', () => {
  it.each([
    ['unreachable', undefined, 'Retrying, because the application does not respond.'],
    [
      'unreachable',
      'the connection was closed',
      'Retrying, because the application does not respond: the connection was closed.',
    ],
    ['forbidden', '403', 'Access to this page was denied: 403.'],
    ['refused', '200 OK', 'Retrying, because the server did not return dashboard data: 200 OK.'],
    ['ending', 'the connection was closed', 'The application is shutting down: the connection was closed.'],
  ])('describes the link state %s with the cause %s as one sentence', (state, text, expected) => {
    expect(linkProblem({ state, text })).toBe(expected);
  });
});

describe('client rates', () => {
  it('computes the per-second rates of a client for any interval between samples', () => {
    const client = clientOf(30, 10, 0.1);
    expect(client.rateNow('started')).toBe(30);
    const [moments, started, failed] = client.rates(['started', 'failed']);
    expect(moments).toEqual(Array.from({ length: 10 }, (_none, i) => T / 1_000 + i + 1));
    expect(new Set(started)).toEqual(new Set([30]));
    expect(failed[9]).toBeCloseTo(3);
    client.take({ counters: { started: 400, succeeded: 400, failed: 0 } }, T + 12_000);
    // The counter grows from 300 at 10 s to 400 at 12 s.
    expect(client.rates(['started'])[1].at(-1)).toBe(50);
    // This rate covers the last five seconds.
    expect(client.rateNow('started')).toBe(38);
  });

  it('returns undefined as the rate of a client with fewer than two samples', () => {
    expect(clientOf(30, 0).rateNow('started')).toBeUndefined();
  });

  it('discards the samples of a client that was recreated', () => {
    const client = clientOf(30, 10);
    client.take(snapshot({ createdAt: '2026-01-01T00:00:11.000Z' }), T + 11_000);
    expect(client.column('started')).toEqual([0]);
  });

  it('keeps at most one sample of a client per second, plus the latest', () => {
    const client = clientOf(10, 3);
    for (const ms of [250, 500, 750]) client.take({ counters: { started: 30 + ms } }, T + 3_000 + ms);
    expect(client.column('at').map((at: number) => at - T)).toEqual([0, 1_000, 2_000, 3_000, 3_750]);
    expect(client.column('started').at(-1)).toBe(780);
  });

  it('adds older samples from the server to a client without replacing newer samples', () => {
    const client = new ClientState('orders', FIELDS);
    client.takeWhole(snapshot());
    client.takeSamples([
      [T, 0, 0, 0, 0],
      [T + 2_000, 40, 40, 0, 0],
    ]);
    expect(client.rates(['started'])).toEqual([[T / 1_000 + 2], [20]]);
    client.takeSamples([[T + 1_000, 20, 20, 0, 0]]);
    expect(client.column('at')).toEqual([T, T + 2_000]);
    // Older samples are inserted before the existing ones.
    client.takeSamples([[T - 2_000, 0, 0, 0, 0]]);
    expect(client.column('at')).toEqual([T - 2_000, T, T + 2_000]);
    expect(client.oldest).toBe(T - 2_000);
  });

  it('drops samples of a client that are older than ten minutes, and shows at most ten minutes', () => {
    const client = clientOf(1, 700);
    expect(client.column('at')[0]).toBe(T + 100_000);
    expect([shownMs(T, T + 59_000), shownMs(T, T + 61_000), shownMs(T, T + 9e6)]).toEqual([60_000, 120_000, 600_000]);
  });
});

describe('client assessment', () => {
  const recentOf = (codes: Record<string, number>, ended: number) => ({
    windowMs: 45_300,
    ended,
    failed: Object.values(codes).reduce((a, b) => a + b, 0),
    codes,
  });
  const wordOf = (more: Record<string, unknown>, isClean = false) => {
    const { tone, word, sentence } = assess(snapshot(more), T + 60_000, isClean);
    return `${tone} ${word}: ${sentence}`;
  };
  const outage = {
    since: MADE_AT,
    graceEndsAt: new Date(T + 90_000).toISOString(),
    connectAttempts: 3,
    flapping: false,
  };
  const unreachable = { state: 'TRANSIENT_FAILURE', since: MADE_AT, lastError: 'ECONNREFUSED' };

  it.each<[string, Record<string, unknown>]>([
    ['ok Healthy: Connected.', {}],
    ['ok Idle: No connection, because no call needs one.', { connectivity: { state: 'IDLE' } }],
    // Errors caused by the request are shown but never count as faults.
    ['ok Healthy: Connected; 1 call failed in the last 45 s.', { recent: recentOf({ NOT_FOUND: 1 }, 20) }],
    [
      'ok Healthy: Connected; 20 calls failed in the last 45 s.',
      { recent: recentOf({ NOT_FOUND: 19, INVALID_ARGUMENT: 1 }, 20) },
    ],
    [
      'bad Failing: Connected, but 10% of calls failed in the last 45 s: UNAVAILABLE, INTERNAL',
      { recent: recentOf({ UNAVAILABLE: 1, NOT_FOUND: 9, INTERNAL: 1 }, 20) },
    ],
    ...['IDLE', 'CONNECTING'].map((state): [string, Record<string, unknown>] => [
      'bad Failing: 50% of calls failed in the last 45 s: DEADLINE_EXCEEDED',
      { connectivity: { state }, recent: recentOf({ DEADLINE_EXCEEDED: 10 }, 20) },
    ]),
    [
      'bad Unreachable: The last connection attempt failed: ECONNREFUSED',
      { connectivity: unreachable, recent: recentOf({ UNAVAILABLE: 10 }, 20) },
    ],
    ['ok Healthy: Connected; 4 calls failed in the last 45 s.', { recent: recentOf({ UNAVAILABLE: 4 }, 100) }],
    ['ok Healthy: Connected; 2 calls failed in the last 45 s.', { recent: recentOf({ UNAVAILABLE: 2 }, 3) }],
    [
      'bad Failing: Connected, but 100% of calls failed in the last 45 s: UNAVAILABLE',
      { recent: recentOf({ UNAVAILABLE: 2 }, 2) },
    ],
    [
      'bad No answer: Connected, but nothing has arrived for 1 min; 8,580 calls wait.',
      { connectivity: { state: 'READY', silence: { since: MADE_AT, calls: 8_580 } } },
    ],
    [
      'warn Outage: No connection for 1 min; 7 waiting calls fail in 30 s: ECONNREFUSED',
      { connectivity: { ...unreachable, outage }, waiting: 7 },
    ],
    [
      'bad Down: No connection for 1 min; calls fail: ECONNREFUSED',
      { connectivity: { ...unreachable, outage: { ...outage, graceEndsAt: MADE_AT } } },
    ],
    ['bad Unreachable: The last connection attempt failed: ECONNREFUSED', { connectivity: unreachable }],
    ['bad Circuit open: Calls to /a are rejected by the client.', { circuits: [{ path: '/a', state: 'open' }] }],
    ['warn Catching up: Connected; 1 waiting call is being sent at a limited rate.', { waiting: 1 }],
    [
      "warn Stream limit: Connected; 2 calls wait because each connection has reached the server's limit on concurrent streams.",
      { waiting: 2, waitingForStream: 2 },
    ],
    ['warn Draining: No new calls are accepted; open calls may finish.', { drain: { state: 'draining' } }],
    ['off Closed: The client accepts no calls.', { drain: { state: 'closed' } }],
  ])('shows "%s" for a client with %j', (expected, more) => expect(wordOf(more)).toBe(expected));

  it('puts clients with an outage first, then those without an answer, those that fail, and those that wait', () => {
    const states: readonly Record<string, unknown>[] = [
      { connectivity: { ...unreachable, outage } },
      { connectivity: unreachable },
      { connectivity: { state: 'READY', silence: { since: MADE_AT, calls: 1 } } },
      { recent: recentOf({ UNAVAILABLE: 10 }, 20) },
      { waiting: 1 },
      {},
    ];
    const ranks = states.map((more) => assess(snapshot(more), T + 60_000, false).rank);
    expect(ranks).toEqual(ranks.toSorted((a, b) => b - a));
    expect(new Set(ranks).size).toBe(states.length);
  });

  it('shows "Recovered" instead of "Failing" after recent faults only while calls are made and succeed', () => {
    const recent = recentOf({ UNAVAILABLE: 10 }, 20);
    expect(wordOf({ recent }, true)).toBe(
      'warn Recovered: Calls succeed again; 50% of calls failed in the last 45 s: UNAVAILABLE',
    );
    const clean = clientOf(10, 10);
    clean.take({ recent }, T + 11_000);
    expect(clean.assess(T + 11_000).word).toBe('Recovered');
    const failing = clientOf(10, 10, 0.1);
    failing.take({ recent }, T + 11_000);
    expect(failing.assess(T + 11_000).word).toBe('Failing');
    // Without calls there is no evidence of a recovery.
    const silent = clientOf(0, 10);
    silent.take({ recent }, T + 11_000);
    expect(silent.assess(T + 11_000).word).toBe('Failing');
  });

  it('counts the faults of a client but not errors caused by the request', () => {
    expect(faultsOf({ UNAVAILABLE: 2, DEADLINE_EXCEEDED: 1, NOT_FOUND: 9, UNAUTHENTICATED: 1, ABORTED: 1 })).toBe(3);
  });
});

describe('state intervals', () => {
  const change = (from: string, to: string, atMs: number) => ({ from, to, at: new Date(T + atMs).toISOString() });

  it('returns state intervals that cover the shown period without gaps', () => {
    const history = [change('IDLE', 'READY', 10_000), change('READY', 'CONNECTING', 40_000)];
    const all = stretches(snapshot({ history }), T + 5_000, T + 60_000);
    expect(all.map(({ state, from, to }: any) => [state, from - T, to - T])).toEqual([
      ['IDLE', 5_000, 10_000],
      ['READY', 10_000, 40_000],
      ['CONNECTING', 40_000, 60_000],
    ]);
    expect(stretches(snapshot({ history }), T + 50_000, T + 60_000)).toHaveLength(1);
  });
});

describe('numbers', () => {
  it.each<[string, string]>([
    [percent(996, 1_000), '99.6%'],
    [percent(99_999, 100_000), '>99.9%'],
    [percent(1_000, 1_000), '100%'],
    [percent(1, 10_000), '<0.1%'],
    [percent(5, 100), '5%'],
    [percent(1, 30), '3.3%'],
    [percent(555, 1_000), '56%'],
    [percent(0, 0), '–'],
    [rate(undefined), '–'],
    [rate(0), '0/s'],
    [rate(12.34), '12.3/s'],
    [rate(1_234.5), '1,235/s'],
    [duration(0.5), '<1 ms'],
    [duration(3.14), '3.1 ms'],
    [duration(350), '350 ms'],
    [duration(1_400), '1.4 s'],
    [duration(59_600), '1 min'],
    [duration(200_000), '3 min 20 s'],
    [duration(7_500_000), '2 h 5 min'],
    [duration(349_200_000), '4 d 1 h'],
    [age(1_999), '1 s'],
    [age(-5), '1 s'],
    [shortPath('/orders.v1.Orders/Get'), 'Orders/Get'],
    [
      moment(T, T + 86_400_000 * 3).replace(/, .*/, ''),
      new Date(T).toLocaleDateString('en', { month: 'short', day: 'numeric' }),
    ],
  ])('formats a dashboard value as %s (case %#)', (written, expected) => expect(written).toBe(expected));
});
