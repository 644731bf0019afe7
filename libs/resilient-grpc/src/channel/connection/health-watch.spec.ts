import { Metadata } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import { VirtualClock } from '../../testing/virtual-clock.js';
import type { ConnectionStream, StreamOpening } from './connection-stream.js';
import { HealthWatch } from './health-watch.js';

it('reports no health status for a connection if its channel is replaced before the health Watch receives a response', async () => {
  const clock = new VirtualClock();
  const reported: string[] = [];
  let opened: StreamOpening | undefined;
  // Safe: a watch only cancels its stream.
  const stream = { cancel: () => undefined } as ConnectionStream;
  const watch = new HealthWatch(
    (opening) => {
      opened = opening;
      return stream;
    },
    (health) => reported.push(health),
    { clock, random: () => 0.5, service: '', metadata: () => Promise.resolve(new Metadata()) },
  );
  await clock.advanceAsync(0);
  // A retired channel ends its streams, but keeps its connections until its last call has ended.
  opened!.onEnd(undefined);
  await clock.advanceAsync(60_000);
  expect(reported).toEqual([]);
  expect(clock.pending).toBe(0);
  watch.stop();
});
