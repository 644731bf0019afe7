import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../testing/virtual-clock.js';
import { CallRegistry, type RegisteredCall } from './call-registry.js';

function make(count: number) {
  const clock = new VirtualClock();
  const registry = new CallRegistry();
  const ended: string[] = [];
  const calls = Array.from({ length: count }, (_, index): RegisteredCall => {
    const call: RegisteredCall = {
      describe: () => ({ path: `/${index}` }) as never,
      terminate: (reason, details) => {
        ended.push(`${index} ${reason}: ${details}`);
        registry.delete(call);
      },
    };
    registry.add(call);
    return call;
  });
  return { clock, registry, calls, ended };
}

describe('the registry', () => {
  it('lists the calls that have not ended, and counts those that began', () => {
    const { registry, calls } = make(3);
    registry.delete(calls[1]!);
    expect(registry.list().map(({ path }) => path)).toEqual(['/0', '/2']);
    expect({ size: registry.size, started: registry.started }).toEqual({ size: 2, started: 3 });
  });

  it('ends all calls when it is closed', () => {
    const { registry, ended } = make(2);
    registry.close();
    expect(ended).toEqual(['0 closed: The client was closed', '1 closed: The client was closed']);
    expect(registry.accepting).toBe('closed');
  });
});

describe('a drain', () => {
  it('without calls is over at once', async () => {
    const { registry, clock } = make(0);
    expect(await registry.drain(10_000, clock)).toEqual({ finished: 0, completed: 0, cancelled: 0, durationMs: 0 });
    expect(registry.accepting).toBe('draining');
    expect(clock.pending).toBe(0);
  });

  it('takes no more calls, and waits for the last of those that run', async () => {
    const { registry, clock, calls, ended } = make(2);
    const report = registry.drain(10_000, clock);
    expect(registry.accepting).toBe('draining');
    clock.advance(300);
    registry.delete(calls[0]!);
    clock.advance(500);
    registry.delete(calls[1]!);
    expect(await report).toEqual({ finished: 2, completed: 0, cancelled: 0, durationMs: 800 });
    expect(ended).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it('cuts off what is left at the end of its time', async () => {
    const { registry, clock, calls, ended } = make(3);
    const report = registry.drain(10_000, clock);
    clock.advance(1_000);
    registry.delete(calls[0]!);
    clock.advance(9_000);
    expect(await report).toEqual({ finished: 1, completed: 0, cancelled: 2, durationMs: 10_000 });
    const details = 'The client was shut down: the call did not finish within 10000 ms';
    expect(ended).toEqual([`1 draining: ${details}`, `2 draining: ${details}`]);
    expect(registry.size).toBe(0);
  });

  it('asked for twice is one, with one report', async () => {
    const { registry, clock, calls } = make(1);
    const first = registry.drain(10_000, clock);
    const second = registry.drain(1, clock);
    clock.advance(100);
    registry.delete(calls[0]!);
    expect(await second).toBe(await first);
    expect(await first).toMatchObject({ finished: 1, cancelled: 0 });
  });

  it('ends with a close in its middle', async () => {
    const { registry, clock } = make(2);
    const report = registry.drain(10_000, clock);
    registry.close();
    expect(registry.accepting).toBe('closed');
    await report;
    expect(clock.pending).toBe(0);
  });
});
