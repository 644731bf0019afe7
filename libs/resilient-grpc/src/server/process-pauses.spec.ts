import { expect, it } from 'vitest';
import { BusyClock } from '../../../../test/unit-support/busy-clock.js';
import { EventHub } from '../call/event-hub.js';
import type { GrpcServerEvent } from '../call/server-event.js';
import { ProcessPauses } from './process-pauses.js';

it('reports each pause of a second or more, and nothing while the process runs', () => {
  const clock = new BusyClock();
  const events = new EventHub<GrpcServerEvent>({}, () => 0);
  const pauses: number[] = [];
  events.listen((event) => {
    if (event.type === 'process-paused') pauses.push(event.pausedMs);
  }, true);
  const watch = new ProcessPauses(clock, events);
  watch.start();
  clock.advance(3_600_000);
  clock.block(900);
  clock.advance(5_000);
  expect(pauses).toEqual([]);
  clock.block(6_000);
  clock.advance(10_000);
  expect(pauses).toHaveLength(1);
  expect(pauses[0]).toBeGreaterThanOrEqual(5_000);
  watch.stop();
  expect(clock.pending).toBe(0);
});
