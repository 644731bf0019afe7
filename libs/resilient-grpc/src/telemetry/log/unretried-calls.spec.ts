import { describe, expect, it } from 'vitest';
import type { EventBody } from '../../call/event-hub.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { UnretriedCalls } from './unretried-calls.js';

type AttemptEndEvent = Extract<EventBody, { readonly type: 'attempt-end' }>;

function make() {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const calls = new UnretriedCalls((text) => lines.push(`warn ${text}`), clock);
  const take = (body: AttemptEndEvent) => calls.failed({ client: 'orders', at: clock.epoch(), ...body });
  return { clock, take, loud: () => lines };
}

const failed = (change: Partial<AttemptEndEvent> = {}): AttemptEndEvent => ({
  type: 'attempt-end',
  path: '/orders.v1.Orders/Create',
  attempt: { number: 1, code: 14, details: 'Connection lost after sending', durationMs: 5, hedge: false },
  reachedServer: 'maybe',
  next: 'none',
  reason: 'not-safe-to-repeat',
  ...change,
});

describe('calls', () => {
  it('that may have reached the server and were not repeated are counted by method and reason', () => {
    const { clock, take, loud } = make();
    for (let i = 0; i < 50; i++) take(failed());
    take(failed({ path: '/orders.v1.Orders/Watch' }));
    expect(loud()).toEqual([
      'warn /orders.v1.Orders/Create: UNAVAILABLE: Connection lost after sending; it may have reached the server and was not ' +
        'repeated (not-safe-to-repeat); look whether it was done, or declare it idempotent if it may be sent twice',
    ]);
    take(failed({ reason: 'throttled' }));
    clock.advance(60_000);
    expect(loud().slice(1)).toEqual([
      'warn 51 more calls may have reached the server and were not repeated, in the last minute: 49 of /orders.v1.Orders/Create ' +
        '(not-safe-to-repeat), 1 of /orders.v1.Orders/Watch (not-safe-to-repeat), 1 of /orders.v1.Orders/Create (throttled); ' +
        'the latest: /orders.v1.Orders/Create: UNAVAILABLE: Connection lost after sending',
    ]);
  });

  it('of one method and reason have its text again, with the count; and at which server', () => {
    const { clock, take, loud } = make();
    const attempt = {
      number: 1,
      code: 14,
      details: 'lost',
      durationMs: 5,
      hedge: false,
      peer: '10.0.0.7:50051',
    } as const;
    for (let i = 0; i < 50; i++) take(failed({ attempt, reason: 'throttled' }));
    clock.advance(60_000);
    expect(loud()[0]).toMatch(
      /^warn \/orders\.v1\.Orders\/Create at 10\.0\.0\.7:50051: UNAVAILABLE: lost; it may have .*\(throttled\)$/,
    );
    expect(loud().slice(1)).toEqual([`${loud()[0]!} (49 more in the last minute)`]);
    clock.advance(60_000);
    expect(clock.pending).toBe(0);
  });

  it('of many methods are one line, that names the most', () => {
    const { clock, take, loud } = make();
    for (let i = 0; i < 100; i++) take(failed({ path: `/a.A/M${i % 10}` }));
    clock.advance(60_000);
    expect(loud()).toHaveLength(2);
    expect(loud()[1]).toMatch(/99 more calls .*: 10 of \/a\.A\/M1 .*, 5 more methods and reasons; the latest/);
  });
});
