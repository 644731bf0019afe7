import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, it, onTestFinished } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { DnsRefresh, dnsNameOf } from './dns-refresh.js';

const REFRESH_MS = 5_000;

/** Creates a refresh whose lookups end when the test calls `end()`, and ends the first lookup. */
function make(clock = new VirtualClock(), random = 0) {
  const refresh = new DnsRefresh(REFRESH_MS, clock, () => random);
  onTestFinished(() => {
    refresh.close();
  });
  const startedAt: number[] = [];
  const state = { isIdle: false };
  const lookUp = (): boolean => {
    if (!state.isIdle) startedAt.push(clock.now());
    return !state.isIdle;
  };
  const end = (ok = true): void => {
    refresh.lookupEnded(ok, lookUp);
  };
  end();
  return { clock, refresh, startedAt, state, end };
}

describe('DnsRefresh', () => {
  it('looks up a DNS name again after the refresh interval, measured from the end of the last lookup', () => {
    const { clock, refresh, startedAt, end } = make();
    expect(refresh.nextAt).toBe(clock.epoch() + REFRESH_MS);
    clock.advance(REFRESH_MS);
    expect(startedAt).toEqual([REFRESH_MS]);
    clock.advance(60_000);
    expect(startedAt).toHaveLength(1);
    end();
    clock.advance(REFRESH_MS);
    expect(startedAt).toEqual([REFRESH_MS, 65_000 + REFRESH_MS]);
  });

  it('looks up outside the async context of the request in which the channel connected', () => {
    const request = new AsyncLocalStorage<string>();
    const clock = new VirtualClock();
    const refresh = new DnsRefresh(REFRESH_MS, clock, () => 0);
    onTestFinished(() => {
      refresh.close();
    });
    const stores: unknown[] = [];
    request.run('request', () => {
      refresh.lookupEnded(true, () => stores.push(request.getStore()) > 0);
      clock.advance(REFRESH_MS);
    });
    expect(stores).toEqual([undefined]);
  });

  it('adds a random jitter of up to 20% to the interval of DNS lookups', () => {
    const { clock, startedAt } = make(new VirtualClock(), 0.5);
    clock.advance(5_499);
    expect(startedAt).toEqual([]);
    clock.advance(1);
    expect(startedAt).toHaveLength(1);
  });

  it('postpones the periodic DNS lookup when a lookup for another reason ends', () => {
    const { clock, startedAt, end } = make();
    clock.advance(4_000);
    end();
    clock.advance(4_999);
    expect(startedAt).toEqual([]);
    clock.advance(1);
    expect(startedAt).toEqual([9_000]);
  });

  it('doubles the refresh interval with each failed DNS lookup, up to 30 s, and restores it after a success', () => {
    const { clock, refresh, startedAt, end } = make();
    for (const delayMs of [10_000, 20_000, 30_000, 30_000]) {
      clock.advance(30_000);
      end(false);
      expect(refresh.nextAt).toBe(clock.epoch() + delayMs);
    }
    const before = startedAt.length;
    clock.advance(29_999);
    expect(startedAt).toHaveLength(before);
    clock.advance(1);
    expect(startedAt).toHaveLength(before + 1);
    end();
    clock.advance(REFRESH_MS);
    expect(startedAt).toHaveLength(before + 2);
  });

  it('runs no DNS lookup while the channel is idle, and checks the channel again after the refresh interval', () => {
    const { clock, startedAt, state } = make();
    state.isIdle = true;
    clock.advance(60_000);
    expect(startedAt).toEqual([]);
    state.isIdle = false;
    clock.advance(REFRESH_MS);
    expect(startedAt).toHaveLength(1);
  });

  it('runs one periodic DNS lookup at a time in a process', () => {
    const clock = new VirtualClock();
    const all = Array.from({ length: 5 }, () => make(clock));
    clock.advance(60_000);
    const started = (): readonly number[] => all.map(({ startedAt }) => startedAt.length);
    expect(started()).toEqual([1, 0, 0, 0, 0]);
    all[0]?.end();
    expect(started()).toEqual([1, 1, 0, 0, 0]);
    all[1]?.refresh.close();
    expect(started()).toEqual([1, 1, 1, 0, 0]);
    // A lookup for another reason cancels a refresh that waits for its turn.
    all[3]?.end();
    all[2]?.refresh.stop();
    expect(started()).toEqual([1, 1, 1, 0, 1]);
  });

  it('clears the timer of the next DNS lookup on close(), and ignores lookups that end later', () => {
    const { clock, refresh, end } = make();
    refresh.close();
    expect([clock.pending, refresh.nextAt]).toEqual([0, undefined]);
    end();
    expect(clock.pending).toBe(0);
  });
});

it.each<[target: string, host: string | undefined, authority?: string]>([
  ['orders:50051', 'orders'],
  ['orders', 'orders'],
  ['orders.shop.svc.cluster.local:50051', 'orders.shop.svc.cluster.local'],
  ['dns:orders:50051', 'orders'],
  ['dns:///orders:50051', 'orders'],
  ['dns:///orders', 'orders'],
  ['dns://10.0.0.1/orders:50051', 'orders', '10.0.0.1'],
  ['dns://10.0.0.1:5353/orders:50051', 'orders', '10.0.0.1:5353'],
  ['127.0.0.1:50051', '127.0.0.1'],
  ['[::1]:50051', '::1'],
  ['dns:///[::1]', '::1'],
  ['unix:/run/orders.sock', undefined],
  ['unix:///run/orders.sock', undefined],
  ['ipv4:127.0.0.1:50051', undefined],
  ['ipv6:[::1]:50051', undefined],
  ['xds:///orders', undefined],
  ['', undefined],
])('parses the DNS name of %j as %j', (target, host, authority) => {
  expect(dnsNameOf(target)).toEqual(host === undefined ? undefined : { host, authority });
});
