import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { AddressUpdates, MAX_ADDRESSES, type AddressUpdate } from './address-updates.js';

type Applied = readonly string[] | 'failed';

function make(
  apply: (update: Applied, clock: VirtualClock) => boolean = () => true,
  { policy = 'round_robin', random = (): number => 0, isIdle = (): boolean => false } = {},
) {
  const clock = new VirtualClock();
  const applied: Applied[] = [];
  const limited: [number, number][] = [];
  const updates = new AddressUpdates(
    clock,
    (endpoints) => {
      const update = endpoints.ok
        ? endpoints.value.map(({ addresses }) => addresses.map((one) => (one as { host: string }).host).join('+'))
        : 'failed';
      applied.push(update);
      return apply(update, clock);
    },
    (...counts) => limited.push(counts),
    isIdle,
    random,
  );
  // Safe: only this method of the config is called.
  const config = { getLoadBalancerName: () => policy } as AddressUpdate[1];
  const endpoint = (hosts: string) => ({ addresses: hosts.split('+').map((host) => ({ host, port: 1 })) });
  /** Reports endpoints. 'a+b' is an endpoint with two addresses. */
  const report = (...hosts: readonly string[]): boolean =>
    updates.take({ ok: true, value: hosts.map(endpoint) }, config, {}, '');
  // Safe: grpc-js reports an error in this form.
  const fail = (): boolean => updates.take({ ok: false, error: { code: 14 } } as AddressUpdate[0], config, {}, '');
  return { clock, applied, limited, updates, report, fail };
}

describe('rate of address updates', () => {
  it('applies the first address update immediately, then the latest one every 100 ms', () => {
    const { clock, applied, report } = make();
    for (let i = 0; i < 250; i++) {
      report(String(i));
      clock.advance(1);
    }
    expect(applied).toEqual([['0'], ['99'], ['199']]);
    clock.advance(60_000);
    expect(applied.at(-1)).toEqual(['249']);
    expect(applied).toHaveLength(4);
    expect(clock.pending).toBe(0);
  });

  it('applies an address update immediately if the previous one is 10 s old', () => {
    const { clock, applied, report } = make();
    report('a');
    clock.advance(10_000);
    report('b');
    expect(applied).toEqual([['a'], ['b']]);
  });

  it('pauses for ten times the duration of a slow address update before the next one', () => {
    const { clock, applied, report } = make((_update, time) => {
      time.advance(200);
      return true;
    });
    report('a');
    report('b');
    clock.advance(1_999);
    expect(applied).toHaveLength(1);
    clock.advance(1);
    expect(applied).toHaveLength(2);
  });

  it('delays the next address update by at most 5 s, even if the process was suspended during an update', () => {
    const { clock, applied, report } = make((_update, time) => {
      time.advance(60_000);
      return true;
    });
    report('a');
    report('b');
    clock.advance(4_999);
    expect(applied).toHaveLength(1);
    clock.advance(1);
    expect(applied).toHaveLength(2);
  });

  it('returns false if the load-balancing policy rejects an address update, and true if the update is delayed', () => {
    const { report } = make((update) => update[0] !== 'bad');
    expect(report('bad')).toBe(false);
    expect(report('bad')).toBe(true);
  });

  it('applies resolver updates without addresses at intervals that grow to 1 s, and the next addresses immediately', () => {
    const { clock, applied, report } = make();
    const at: number[] = [];
    const startedAt = clock.now();
    while (clock.now() - startedAt < 4_000) {
      report();
      if (applied.length > at.length) at.push(clock.now() - startedAt);
      clock.advance(10);
    }
    expect(at).toEqual([0, 100, 300, 700, 1500, 2500, 3500]);
    report('a');
    expect(applied.at(-1)).toEqual(['a']);
  });

  it('keeps pending addresses if the next resolution fails', () => {
    const { clock, applied, report, fail } = make();
    report('a');
    report('b');
    fail();
    clock.advance(100);
    expect(applied).toEqual([['a'], ['b']]);
    fail();
    clock.advance(100);
    expect(applied.at(-1)).toBe('failed');
  });

  it('delays an address update that arrives while another one is being applied', () => {
    const made = make((update) => {
      if (update[0] === 'a') made.report('b');
      return true;
    });
    made.report('a');
    expect(made.applied).toEqual([['a']]);
    made.clock.advance(100);
    expect(made.applied).toEqual([['a'], ['b']]);
  });

  it('clears the timer of a delayed address update on stop()', () => {
    const { clock, applied, updates, report } = make();
    report('a');
    report('b');
    updates.stop();
    expect(clock.pending).toBe(0);
    expect(applied).toEqual([['a']]);
  });
});

describe('address limit', () => {
  const names = (from: number, count: number): string[] => Array.from({ length: count }, (_, i) => String(from + i));

  it('uses at most 1,000 addresses, and reports the numbers of resolved and used addresses if there are more', () => {
    const { clock, applied, limited, report } = make();
    report(...names(0, MAX_ADDRESSES));
    clock.advance(1_000);
    expect(limited).toEqual([]);
    report(...names(0, MAX_ADDRESSES), 'last');
    expect(applied[1]).toHaveLength(MAX_ADDRESSES);
    expect(limited).toEqual([[1_001, 1_000]]);
  });

  it('selects a random subset, in reported order, if there are more than 1,000 addresses, so that all clients together use all servers', () => {
    const uses = new Map<string, number>();
    for (let client = 0; client < 40; client++) {
      const { applied, report } = make(undefined, { random: Math.random });
      report(...names(0, 2_000));
      const used = applied[0] as readonly string[];
      expect(used).toEqual([...used].sort((a, b) => Number(a) - Number(b)));
      for (const name of used) uses.set(name, (uses.get(name) ?? 0) + 1);
    }
    expect(uses.size).toBe(2_000);
    // On average, 20 of the 40 clients use each address. The probability that any address has no client or all clients is 4 in a billion.
    expect(Math.min(...uses.values())).toBeGreaterThan(0);
    expect(Math.max(...uses.values())).toBeLessThan(40);
  });

  it('uses the first 1,000 addresses under pick_first, which prefers the first addresses', () => {
    const { applied, report } = make(undefined, { policy: 'pick_first' });
    report(...names(0, 1_500));
    expect(applied[0]).toEqual(names(0, 1_000));
  });

  it('uses either all addresses of an endpoint or none of them', () => {
    const { applied, report } = make(undefined, { policy: 'pick_first' });
    report(...names(0, 600).map((name) => `${name}+v6-${name}`));
    expect(applied[0]).toEqual(names(0, 500).map((name) => `${name}+v6-${name}`));
  });

  it('limits the addresses of a single endpoint to 1,000', () => {
    const { applied, report } = make();
    report(names(0, 1_500).join('+'));
    expect(applied[0]).toEqual([names(0, 1_000).join('+')]);
  });

  it('keeps the addresses in use if more than 1,000 are reported in another order', () => {
    const { clock, applied, report } = make();
    report(...names(0, 1_500));
    clock.advance(1_000);
    report(...names(0, 1_501).reverse());
    expect(new Set(applied[1])).toEqual(new Set(applied[0]));
    clock.advance(1_000);
    // Some addresses in use are no longer reported.
    report(...names(300, 1_500).reverse());
    const kept = (applied[1] as readonly string[]).filter((name) => Number(name) >= 300);
    expect(kept.length).toBeLessThan(MAX_ADDRESSES);
    expect(applied[2]).toHaveLength(MAX_ADDRESSES);
    expect(applied[2]).toEqual(expect.arrayContaining(kept));
  });

  it('uses an address once if it is reported more than 1,000 times', () => {
    const { applied, report } = make();
    report(...Array.from({ length: 5_000 }, () => 'a'), 'b');
    expect(applied[0]).toEqual(['a', 'b']);
  });
});

describe('unchanged addresses', () => {
  it('skips a resolver update with the same addresses in any order', () => {
    const { clock, applied, report } = make();
    report('a', 'b', 'c');
    for (const hosts of [
      ['c', 'b', 'a'],
      ['b', 'a', 'c'],
      ['a', 'b', 'c'],
    ]) {
      clock.advance(5_000);
      expect(report(...hosts)).toBe(true);
    }
    expect(applied).toHaveLength(1);
    clock.advance(5_000);
    report('a', 'b');
    expect(applied.at(-1)).toEqual(['a', 'b']);
  });

  it('skips a resolver update with the same addresses after a failed lookup', () => {
    const { clock, applied, report, fail } = make();
    report('a');
    clock.advance(5_000);
    fail();
    clock.advance(5_000);
    report('a');
    expect(applied).toEqual([['a'], 'failed']);
  });

  it('applies the same addresses again for pick_first, after an empty result, and if the policy rejected them', () => {
    const first = make(undefined, { policy: 'pick_first' });
    first.report('a', 'b');
    first.clock.advance(5_000);
    first.report('b', 'a');
    expect(first.applied).toHaveLength(2);
    const empty = make();
    for (const hosts of [['a'], [], ['a']]) {
      empty.report(...hosts);
      empty.clock.advance(5_000);
    }
    expect(empty.applied).toEqual([['a'], [], ['a']]);
    const rejected = make(() => false);
    rejected.report('a');
    rejected.clock.advance(5_000);
    rejected.report('a');
    expect(rejected.applied).toHaveLength(2);
  });
});

describe('address updates of an idle channel', () => {
  it('keeps the latest addresses of an idle channel until the channel connects', () => {
    let isIdle = false;
    const { clock, applied, updates, report, fail } = make(undefined, { policy: 'pick_first', isIdle: () => isIdle });
    report('a');
    report('b');
    isIdle = true;
    clock.advance(60_000);
    report('c');
    report('d');
    report();
    fail();
    clock.advance(60_000);
    expect(applied).toEqual([['a']]);
    updates.resume();
    expect(applied).toEqual([['a'], ['d']]);
    updates.resume();
    expect(applied).toEqual([['a'], ['d']]);
    expect(clock.pending).toBe(0);
  });

  it.each<[string, readonly string[] | undefined, readonly string[]]>([
    ['the last applied addresses', undefined, ['a']],
    ['pending addresses', ['b'], ['b']],
    ['the last applied addresses instead of a pending empty result', [], ['a']],
  ])('applies %s on resume() after released()', (_, pending, expected) => {
    let isIdle = false;
    const { applied, updates, report } = make(undefined, { isIdle: () => isIdle });
    report('a');
    if (pending !== undefined) report(...pending);
    updates.released();
    isIdle = true;
    updates.resume();
    expect(applied).toEqual([['a'], expected]);
  });
});
