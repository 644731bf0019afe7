import { describe, expect, it } from 'vitest';
import type { EventBody } from '../../call/event-hub.js';
import { VirtualClock } from '../../../spec-support/virtual-clock.js';
import type { EventFields } from './log-line.js';
import { UnretriedCalls } from './unretried-calls.js';

type AttemptEndEvent = Extract<EventBody, { readonly type: 'attempt-end' }>;

function make() {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const allFields: EventFields[] = [];
  const calls = new UnretriedCalls((text, fields) => {
    lines.push(`warn ${text}`);
    allFields.push(fields);
  }, clock);
  const take = (body: AttemptEndEvent) => calls.failed({ client: 'orders', at: clock.epoch(), ...body });
  return { clock, take, written: () => lines, fields: () => allFields };
}

const failed = (change: Partial<AttemptEndEvent> = {}): AttemptEndEvent => ({
  type: 'attempt-end',
  path: '/orders.v1.Orders/Create',
  attempt: { number: 1, code: 14, details: 'Connection lost after sending', durationMs: 5, superseded: false },
  reachedServer: 'maybe',
  next: 'none',
  reason: 'not-safe-to-repeat',
  ...change,
});

describe('UnretriedCalls', () => {
  it('logs the first unretried call, then counts further calls by method and reason', () => {
    const { clock, take, written } = make();
    for (let i = 0; i < 50; i++) take(failed());
    take(failed({ path: '/orders.v1.Orders/Watch' }));
    expect(written()).toEqual([
      'warn /orders.v1.Orders/Create: UNAVAILABLE: Connection lost after sending; the call may have reached the server and was not ' +
        'retried (not-safe-to-repeat); check whether it took effect, or declare the method idempotent if it is safe to repeat',
    ]);
    take(failed({ reason: 'throttled' }));
    clock.advance(60_000);
    expect(written().slice(1)).toEqual([
      'warn 51 more calls in the last minute may have reached the server and were not retried: 49 to /orders.v1.Orders/Create ' +
        '(not-safe-to-repeat), 1 to /orders.v1.Orders/Watch (not-safe-to-repeat), 1 to /orders.v1.Orders/Create (throttled); ' +
        'latest, 60 s ago: /orders.v1.Orders/Create: UNAVAILABLE: Connection lost after sending',
    ]);
  });

  it('repeats the log line of an unretried call, with the server and the count, if all unretried calls share one method and reason', () => {
    const { clock, take, written } = make();
    const attempt = {
      number: 1,
      code: 14,
      details: 'lost',
      durationMs: 5,
      superseded: false,
      peer: '10.0.0.7:50051',
    } as const;
    for (let i = 0; i < 50; i++) take(failed({ attempt, reason: 'throttled' }));
    clock.advance(60_000);
    expect(written()[0]).toMatch(
      /^warn \/orders\.v1\.Orders\/Create at 10\.0\.0\.7:50051: UNAVAILABLE: lost; the call may have .*\(throttled\)$/,
    );
    expect(written().slice(1)).toEqual([`${written()[0]!} (49 more in the last minute, the last one 60 s ago)`]);
    clock.advance(60_000);
    expect(clock.pending).toBe(0);
  });

  it('does not count the first call to a method as a repeat if the previous line is about another method', () => {
    const { clock, take, written, fields } = make();
    take(failed());
    const watch = failed({ path: '/orders.v1.Orders/Watch' });
    take(watch);
    clock.advance(60_000);
    for (let i = 0; i < 2; i++) take(watch);
    clock.advance(60_000);
    for (let i = 0; i < 3; i++) take(failed());
    clock.advance(60_000);
    expect(written().map((line) => line.replace(/: UNAVAILABLE.*repeat/, ''))).toEqual([
      'warn /orders.v1.Orders/Create',
      'warn /orders.v1.Orders/Watch (60 s ago)',
      'warn /orders.v1.Orders/Watch (2 more in the last minute, the last one 60 s ago)',
      'warn /orders.v1.Orders/Create (2 more in the last minute, the last one 60 s ago)',
    ]);
    expect(fields().map(({ repeats }) => repeats)).toEqual([undefined, undefined, 2, 2]);
  });

  it('combines unretried calls of many methods into one log line that lists the most frequent methods', () => {
    const { clock, take, written } = make();
    for (let i = 0; i < 100; i++) take(failed({ path: `/a.A/M${i % 10}` }));
    clock.advance(60_000);
    expect(written()).toHaveLength(2);
    expect(written()[1]).toMatch(/99 more calls .*: 10 to \/a\.A\/M1 .*, 5 more methods and reasons; latest/);
  });
});
