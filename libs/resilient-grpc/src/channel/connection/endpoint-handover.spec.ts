import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { AddressUpdate } from './address-updates.js';
import { EndpointHandover } from './endpoint-handover.js';

function make(policy = 'round_robin') {
  const clock = new VirtualClock();
  const usable = new Set<string>();
  const applied: (readonly string[] | 'failed')[] = [];
  const hostOf = ({ addresses: [address] }: { readonly addresses: readonly unknown[] }): string =>
    (address as { readonly host: string }).host;
  const handover = new EndpointHandover(
    clock,
    (endpoint) => usable.has(hostOf(endpoint)),
    (endpoints) => applied.push(endpoints.ok ? endpoints.value.map(hostOf) : 'failed') > 0,
  );
  // Safe: only this method of the config is called.
  const config = { getLoadBalancerName: () => policy } as AddressUpdate[1];
  const resolve = (...hosts: readonly string[]): void => {
    handover.take({ ok: true, value: hosts.map((host) => ({ addresses: [{ host, port: 1 }] })) }, config, {}, '');
  };
  const change = (...hosts: readonly string[]): void => {
    usable.clear();
    for (const host of hosts) usable.add(host);
    handover.endpointChanged();
    clock.advance(0);
  };
  // Safe: grpc-js reports an error in this form.
  const fail = () => handover.take({ ok: false, error: { code: 14 } } as AddressUpdate[0], config, {}, '');
  return { handover, applied, resolve, change, fail, clock };
}

describe('EndpointHandover', () => {
  it('drops removed endpoints when they become unusable', () => {
    const { applied, resolve, change } = make();
    resolve('a');
    change('a');
    resolve('b');
    change();
    expect(applied).toEqual([['a'], ['b', 'a'], ['b']]);
  });

  it('keeps a usable removed endpoint over several updates without a usable endpoint', () => {
    const { applied, resolve, change } = make();
    resolve('a');
    change('a');
    resolve('b');
    resolve('c');
    expect(applied.at(-1)).toEqual(['c', 'a']);
    change('a', 'c');
    expect(applied.at(-1)).toEqual(['c']);
  });

  it('forwards an endpoint update unchanged if the policy is pick_first, the update has no addresses, or resolution failed', () => {
    const first = make('pick_first');
    first.resolve('a');
    first.change('a');
    first.resolve('b');
    expect(first.applied).toEqual([['a'], ['b']]);
    const { applied, resolve, change, fail } = make();
    resolve('a');
    change('a');
    fail();
    resolve();
    expect(applied).toEqual([['a'], 'failed', []]);
  });

  it('does not apply a pending endpoint update after stop()', () => {
    const { handover, applied, resolve, change } = make();
    resolve('a');
    change('a');
    resolve('b');
    handover.endpointChanged();
    handover.stop();
    // Without `stop()`, this change would drop the kept endpoint 'a', which is no longer usable.
    change();
    expect(applied).toHaveLength(2);
  });
});
