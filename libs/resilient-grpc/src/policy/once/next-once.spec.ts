import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  isExpired,
  MAX_SKEW_MS,
  nextOnce,
  type OnceEvent,
  type OnceRecord,
  type OnceReply,
  type OnceTimes,
} from './next-once.js';

const LEASE = 10;
const TTL = 100;
const END = Uint8Array.of(1);
const OTHER_END = Uint8Array.of(2);
const BEFORE = 50;

function times(now: number, change: Partial<OnceTimes> = {}): OnceTimes {
  return { now, leaseMs: LEASE, ttlMs: TTL, commits: false, scope: 's', ...change };
}

const RUNNING: OnceRecord = { kind: 'running', hash: 'h', owner: 'a', leaseEndsAt: LEASE, expiresAt: TTL };
const DONE: OnceRecord = { kind: 'done', hash: 'h', end: END, expiresAt: TTL };
const DROPPED: OnceRecord = { ...DONE, end: undefined };
const IN_DOUBT: OnceRecord = { kind: 'in-doubt', hash: 'h', owner: 'a', expiresAt: TTL };
const CLOSED: OnceRecord = { kind: 'closed', expiresAt: TTL };

/** A record, and the time at which events meet it. */
const STATES = {
  none: [undefined, 5],
  'none, after the last begin': [undefined, BEFORE + 1],
  running: [RUNNING, LEASE - 1],
  'running, its lease over': [RUNNING, LEASE],
  done: [DONE, 5],
  'done, expired': [DONE, TTL],
  dropped: [DROPPED, 5],
  'in-doubt': [IN_DOUBT, TTL - 1],
  'in-doubt, expired': [IN_DOUBT, TTL],
  closed: [CLOSED, TTL - 1],
  'closed, expired': [CLOSED, TTL],
} as const satisfies Record<string, readonly [OnceRecord | undefined, number]>;
type State = keyof typeof STATES;

const attempt = { type: 'attempt', hash: 'h', owner: 'a', before: BEFORE, scope: 's' } as const;
const EVENTS = {
  attempt,
  'attempt without limits': { ...attempt, owner: 'b', before: Infinity, scope: undefined },
  'attempt of another': { ...attempt, owner: 'b' },
  'other request': { ...attempt, hash: 'other' },
  'other store': { ...attempt, scope: 'other' },
  ask: { type: 'ask', close: false },
  close: { type: 'ask', close: true },
  renew: { type: 'renew', owner: 'a' },
  commit: { type: 'commit', owner: 'a', end: OTHER_END },
  end: { type: 'end', owner: 'a', end: OTHER_END },
  release: { type: 'release', owner: 'a' },
  'foreign renew': { type: 'renew', owner: 'b' },
  'foreign commit': { type: 'commit', owner: 'b', end: OTHER_END },
  'foreign end': { type: 'end', owner: 'b', end: OTHER_END },
  'foreign release': { type: 'release', owner: 'b' },
  'settle as ended': { type: 'settle', end: OTHER_END },
  'settle as never begun': { type: 'settle', end: undefined },
} as const satisfies Record<string, OnceEvent>;
type Event = keyof typeof EVENTS;

/** Writes a reply and the kind of the record after it: 'done -> done'. */
function step(state: State, event: Event, change?: Partial<OnceTimes>): string {
  const [record, now] = STATES[state];
  const { record: after, reply } = nextOnce(record, EVENTS[event], times(now, change));
  const detail = reply.is === 'running' && reply.own ? ' here' : '';
  return `${reply.is}${detail} -> ${after?.kind ?? 'none'}`;
}

const GONE = {
  'foreign renew': 'lost -> none',
  'foreign commit': 'lost -> none',
  'foreign end': 'lost -> none',
  'foreign release': 'lost -> none',
  renew: 'lost -> none',
  commit: 'lost -> none',
  end: 'lost -> none',
  release: 'lost -> none',
  'settle as ended': 'unknown -> none',
  'settle as never begun': 'unknown -> none',
  ask: 'unknown -> none',
  close: 'closed -> closed',
  'other store': 'elsewhere -> none',
  'attempt without limits': 'begin -> running',
} as const;

/** The step of every event; `rest` is that of the events which are not listed. */
function row(rest: string, listed: Partial<Record<Event, string>> = {}): Record<Event, string> {
  const [, kind] = rest.split(' -> ');
  const all = Object.keys(EVENTS).map((event) => [event, rest]);
  return {
    ...Object.fromEntries(all),
    'other request': `mismatch -> ${kind!}`,
    'other store': `elsewhere -> ${kind!}`,
    ...listed,
  } as Record<Event, string>;
}

const OWNED = {
  renew: 'recorded -> running',
  commit: 'recorded -> done',
  end: 'recorded -> done',
  release: 'recorded -> none',
} as const;
const SETTLED = { 'settle as ended': 'recorded -> done', 'settle as never begun': 'recorded -> none' } as const;
const TABLE: Record<State, Record<Event, string>> = {
  none: row('begin -> running', { ...GONE, 'other request': 'begin -> running' }),
  'none, after the last begin': row('late -> none', { ...GONE, 'other request': 'late -> none' }),
  running: row('running -> running', { ...OWNED, attempt: 'running here -> running' }),
  'running, its lease over': row('in-doubt -> in-doubt', { ...OWNED, ...SETTLED }),
  done: row('done -> done'),
  'done, expired': row('in-doubt -> none', { ...GONE, 'other request': 'in-doubt -> none' }),
  dropped: row('in-doubt -> done', SETTLED),
  'in-doubt': row('in-doubt -> in-doubt', { ...OWNED, ...SETTLED }),
  'in-doubt, expired': row('in-doubt -> none', { ...GONE, 'other request': 'in-doubt -> none' }),
  closed: row('closed -> closed', {
    'other request': 'closed -> closed',
    'settle as ended': 'unknown -> closed',
    'settle as never begun': 'unknown -> closed',
  }),
  'closed, expired': row('in-doubt -> none', { ...GONE, 'other request': 'in-doubt -> none' }),
};

const CASES = (Object.keys(TABLE) as State[]).flatMap((state) =>
  (Object.keys(EVENTS) as Event[]).map((event) => [state, event, TABLE[state][event]] as const),
);

describe('nextOnce', () => {
  it.each(CASES)('%s: %s: %s', (state, event, expected) => {
    expect(step(state, event)).toBe(expected);
    // A store that commits differs: whoever lost the lease has not committed, so that the key may begin again, or be closed.
    const other = { attempt: 'begin -> running', ask: 'unknown -> in-doubt', close: 'closed -> closed' };
    const own = /in-doubt$|over$/.test(state) ? other[event.split(' ', 1)[0] as keyof typeof other] : undefined;
    expect(step(state, event, { commits: true })).toBe(own ?? expected);
  });

  it('keeps a record for ttlMs after each change, and its lease for leaseMs', () => {
    const change = (record: OnceRecord | undefined, event: Event) => nextOnce(record, EVENTS[event], times(7)).record;
    expect(change(undefined, 'attempt')).toEqual({ ...RUNNING, leaseEndsAt: 7 + LEASE, expiresAt: 7 + TTL });
    expect(change(RUNNING, 'renew')).toEqual({ ...RUNNING, leaseEndsAt: 7 + LEASE, expiresAt: 7 + TTL });
    expect(change(RUNNING, 'end')).toEqual({ ...DONE, end: OTHER_END, expiresAt: 7 + TTL });
    expect(change(undefined, 'close')).toEqual({ ...CLOSED, expiresAt: 7 + TTL });
    expect(nextOnce(RUNNING, EVENTS.ask, times(LEASE)).record).toEqual({ ...IN_DOUBT, expiresAt: LEASE + TTL });
  });

  it('begins at the last instant, and says that nothing has run while an end would still be kept', () => {
    const reply = (now: number, record?: OnceRecord) => nextOnce(record, attempt, times(now)).reply.is;
    expect([BEFORE, BEFORE + 1, TTL - 1, TTL].map((now) => reply(now))).toEqual(['begin', 'late', 'late', 'in-doubt']);
    // Closed after an end had expired.
    const closed: OnceRecord = { kind: 'closed', expiresAt: 2 * TTL };
    expect([TTL - 1, TTL].map((now) => reply(now, closed))).toEqual(['closed', 'in-doubt']);
  });

  it('does not begin so late that its end might no longer be kept, because the clock was set back', () => {
    const latest = 7 + TTL / 2 + MAX_SKEW_MS;
    const reply = (before: number) => nextOnce(undefined, { ...attempt, before }, times(7)).reply.is;
    expect([latest, latest + 1, Infinity].map(reply)).toEqual(['begin', 'elsewhere', 'begin']);
  });

  it('keeps a running record until its lease is over, even if that is after ttlMs', () => {
    const record: OnceRecord = { ...RUNNING, leaseEndsAt: 2 * TTL };
    expect([TTL, 2 * TTL - 1, 2 * TTL].map((now) => isExpired(record, now))).toEqual([false, false, true]);
  });
});

describe('a key', () => {
  it('begins once unless it is released, settled, expired, or commits, and keeps its end and its owner', () => {
    const names = fc.constantFrom(...(Object.keys(EVENTS) as Event[]));
    const walk = fc.array(fc.tuple(names, fc.constantFrom(0, 1, LEASE - 1, LEASE, BEFORE, TTL)), { maxLength: 40 });
    fc.assert(
      fc.property(walk, fc.boolean(), (events, commits) => {
        let now = 0;
        let record: OnceRecord | undefined;
        for (const [name, waitMs] of events) {
          now += waitMs;
          const event: OnceEvent = EVENTS[name];
          const before = record !== undefined && isExpired(record, now) ? undefined : record;
          const next = nextOnce(record, event, times(now, { commits }));
          check(before, event, next.reply, next.record, now, commits);
          record = next.record;
        }
      }),
      { seed: 1, numRuns: 3_000 },
    );
  });

  function check(
    before: OnceRecord | undefined,
    event: OnceEvent,
    { is }: OnceReply,
    after: OnceRecord | undefined,
    now: number,
    commits: boolean,
  ): void {
    const isOver = before?.kind === 'in-doubt' || (before?.kind === 'running' && now >= before.leaseEndsAt);
    if (is === 'begin') expect(before === undefined || (commits && isOver)).toBe(true);
    if (is === 'late' || is === 'unknown')
      expect(before === undefined || before.kind === 'closed' || (commits && isOver && event.type === 'ask')).toBe(
        true,
      );
    const isBegun = before?.kind === 'running' || isOver;
    if (before !== undefined && after === undefined)
      expect(event.type === 'release' ? isBegun : event.type === 'settle' && before.kind !== 'closed').toBe(true);
    if (before?.kind === 'done' && before.end !== undefined) expect(after).toBe(before);
    if (before?.kind === 'closed') expect(after).toBe(before);
    if ('owner' in event && event.type !== 'attempt' && isBegun && before.owner !== event.owner)
      expect([undefined, 'in-doubt', 'running']).toContain(after?.kind);
    if (after?.kind === 'closed') expect(before === undefined || before === after || (commits && isOver)).toBe(true);
    else if (before !== undefined && after !== undefined)
      expect(after).toMatchObject({ hash: (before as { hash: string }).hash });
  }
});
