import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { AddressUpdates, MAX_ADDRESSES, type AddressUpdate } from './address-updates.js';

type Applied = readonly string[] | 'failed';

function make(apply: (update: Applied, clock: VirtualClock) => boolean = () => true) {
  const clock = new VirtualClock();
  const applied: Applied[] = [];
  const limited: [number, number][] = [];
  const updates = new AddressUpdates(
    clock,
    (endpoints) => {
      const update = endpoints.ok
        ? endpoints.value.map(({ addresses: [one] }) => (one as { host: string }).host)
        : 'failed';
      applied.push(update);
      return apply(update, clock);
    },
    (...counts) => limited.push(counts),
  );
  // True: nothing is read of the config.
  const config = {} as AddressUpdate[1];
  const report = (...hosts: readonly string[]): boolean =>
    updates.take({ ok: true, value: hosts.map((host) => ({ addresses: [{ host, port: 1 }] })) }, config, {}, '');
  // True: as grpc-js writes an error.
  const fail = (): boolean => updates.take({ ok: false, error: { code: 14 } } as AddressUpdate[0], config, {}, '');
  return { clock, applied, limited, updates, report, fail };
}

describe('the pace of address updates', () => {
  it('passes the first update at once, then the latest one every 100 ms', () => {
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

  it('uses a tenth of the time at most if an update takes long', () => {
    const { clock, applied, report } = make((_, of) => {
      of.advance(200);
      return true;
    });
    report('a');
    report('b');
    clock.advance(1_999);
    expect(applied).toHaveLength(1);
    clock.advance(1);
    expect(applied).toHaveLength(2);
  });

  it('returns whether the policy can use an update that does not wait', () => {
    const { report } = make((update) => update[0] !== 'bad');
    expect(report('bad')).toBe(false);
    expect(report('bad')).toBe(true);
  });

  it('passes updates without addresses ever less often, and the first addresses after them at once', () => {
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

  it('keeps waiting addresses if the next resolution fails', () => {
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

  it('holds a report that comes while another one is being passed on', () => {
    const made = make((update) => {
      if (update[0] === 'a') made.report('b');
      return true;
    });
    made.report('a');
    expect(made.applied).toEqual([['a']]);
    made.clock.advance(100);
    expect(made.applied).toEqual([['a'], ['b']]);
  });

  it('leaves no timer when it is stopped', () => {
    const { clock, applied, updates, report } = make();
    report('a');
    report('b');
    updates.stop();
    expect(clock.pending).toBe(0);
    expect(applied).toEqual([['a']]);
  });
});

describe('the number of addresses', () => {
  const names = (from: number, count: number): string[] => Array.from({ length: count }, (_, i) => String(from + i));

  it('is what the resolver reports, up to 1,000', () => {
    const { clock, applied, limited, report } = make();
    report(...names(0, MAX_ADDRESSES));
    clock.advance(1_000);
    expect(limited).toEqual([]);
    report(...names(0, MAX_ADDRESSES), 'last');
    expect(applied[1]).toEqual(names(0, MAX_ADDRESSES));
    expect(limited).toEqual([[1_001, 1_000]]);
  });

  it('keeps the addresses in use if more than 1,000 are reported in another order', () => {
    const { clock, applied, report } = make();
    report(...names(0, 1_500));
    clock.advance(1_000);
    report(...names(0, 1_500).reverse());
    expect(new Set(applied[1])).toEqual(new Set(applied[0]));
    clock.advance(1_000);
    // 300 of those in use are gone.
    report(...names(300, 1_500).reverse());
    expect(new Set(applied[2])).toEqual(new Set([...names(300, 700), ...names(1_500, 300)]));
  });

  it('counts an address that is reported many times once', () => {
    const { applied, report } = make();
    report(...Array.from({ length: 5_000 }, () => 'a'), 'b');
    expect(applied[0]).toEqual(['a', 'b']);
  });
});
