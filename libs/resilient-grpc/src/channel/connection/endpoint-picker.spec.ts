import { Metadata, type experimental } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { EndpointPicker, pickInfo } from './endpoint-picker.js';

type PickResult = experimental.PickResult;

function make({
  picks,
  ready = [...new Set(picks)],
  group = [] as string[],
}: {
  picks: string[];
  ready?: string[];
  group?: string[];
}) {
  const subchannel = (address: string) => ({ getAddress: () => address }) as PickResult['subchannel'];
  const onCallEnded = (): void => undefined;
  let next = 0;
  const child = {
    pick: (): PickResult => {
      const address = picks[next++ % picks.length]!;
      if (address === 'drop') return { pickResultType: 3, subchannel: null } as unknown as PickResult;
      return { pickResultType: 0, subchannel: subchannel(address), onCallEnded } as unknown as PickResult;
    },
  };
  const endpoints = {
    isTried: (address: string, tried: readonly string[]) =>
      tried.includes(address) || (group.includes(address) && tried.some((one) => group.includes(one))),
    pickable: () => ready.map((address) => subchannel(address)!),
  };
  const picker = new EndpointPicker(child, endpoints, () => 0);
  return {
    get picks() {
      return next;
    },
    pick: (tried?: string[]) => {
      const args = { metadata: new Metadata(), extraPickInfo: pickInfo(tried, true) };
      const { subchannel: picked, pickResultType } = picker.pick(args);
      return pickResultType === (0 as number) ? picked?.getAddress() : 'none';
    },
  };
}

describe('EndpointPicker', () => {
  it('calls the child policy once for an attempt without tried endpoints', () => {
    const made = make({ picks: ['a', 'b'] });
    expect([made.pick(), made.pick(), made.pick()]).toEqual(['a', 'b', 'a']);
    expect(made.picks).toBe(3);
  });

  it('calls the child policy once if it picks an untried endpoint', () => {
    const made = make({ picks: ['a', 'b'] });
    expect([made.pick(['b']), made.picks]).toEqual(['a', 1]);
  });

  it('calls the child policy up to three more times until it picks an untried endpoint', () => {
    expect(make({ picks: ['a', 'a', 'c', 'b'] }).pick(['a'])).toBe('c');
  });

  it('selects another READY endpoint if four calls to the child policy pick only tried endpoints', () => {
    const made = make({ picks: ['a'], ready: ['a', 'b'] });
    expect([made.pick(['a']), made.picks]).toEqual(['b', 4]);
  });

  it('accepts a tried endpoint after one call to the child policy if no other endpoint is READY', () => {
    const made = make({ picks: ['a', 'b'], ready: ['a'] });
    expect([made.pick(['a']), made.picks]).toEqual(['a', 1]);
  });

  it('accepts any endpoint if all have been tried', () => {
    expect(make({ picks: ['b', 'a'] }).pick(['a', 'b'])).toBe('b');
  });

  it('avoids the other addresses of a tried endpoint', () => {
    expect(make({ picks: ['a2', 'b'], ready: ['a2', 'b'], group: ['a1', 'a2'] }).pick(['a1'])).toBe('b');
  });

  it('does not pick again if the child policy drops the call', () => {
    const made = make({ picks: ['drop', 'a', 'b'] });
    expect([made.pick(['a']), made.picks]).toEqual(['none', 1]);
  });

  it('adds the picked endpoint to the tried endpoints, so that a hedge avoids it', () => {
    const made = make({ picks: ['a', 'a', 'b'] });
    const tried: string[] = [];
    expect([made.pick(tried), made.pick(tried), tried]).toEqual(['a', 'b', ['a', 'b']]);
  });
});
