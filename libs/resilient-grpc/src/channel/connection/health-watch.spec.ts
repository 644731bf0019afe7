import { Metadata } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { ConnectionStream, StreamOpening } from './connection-stream.js';
import { HealthWatch } from './health-watch.js';

it('reports `unanswered` if a reopened health Watch receives no response for 5 s, and keeps the last health status until then', async () => {
  const clock = new VirtualClock();
  const reported: string[] = [];
  const opened: StreamOpening[] = [];
  const watch = new HealthWatch(
    (opening) => {
      opened.push(opening);
      // Safe: a watch only cancels its stream.
      return { cancel: () => undefined } as ConnectionStream;
    },
    (health) => reported.push(health),
    { clock, random: () => 0.5, service: '', metadata: () => Promise.resolve(new Metadata()) },
  );
  await clock.advanceAsync(0);
  // A HealthCheckResponse with the status SERVING.
  opened[0]!.onMessage(Uint8Array.of(8, 1));
  await clock.advanceAsync(60_000);
  opened[0]!.onEnd({ code: 14, details: '' });
  await clock.advanceAsync(5_000);
  expect([opened.length, reported]).toEqual([2, ['serving']]);
  await clock.advanceAsync(100);
  expect(reported).toEqual(['serving', 'unanswered']);
  opened[1]!.onMessage(Uint8Array.of(8, 1));
  expect(reported.at(-1)).toBe('serving');
  watch.stop();
  expect(clock.pending).toBe(0);
});

it('reports no health status for a connection if its channel is replaced before the health Watch receives a response', async () => {
  const clock = new VirtualClock();
  const reported: string[] = [];
  let cancelled = 0;
  const watch = new HealthWatch(
    // Safe: a watch only cancels its stream.
    () => ({ cancel: () => (cancelled += 1) }) as unknown as ConnectionStream,
    (health) => reported.push(health),
    { clock, random: () => 0.5, service: '', metadata: () => Promise.resolve(new Metadata()) },
  );
  await clock.advanceAsync(0);
  // A retired channel ends its Watches, but keeps its connections until its last call has ended.
  watch.stop();
  await clock.advanceAsync(60_000);
  expect([cancelled, reported]).toEqual([1, []]);
  expect(clock.pending).toBe(0);
});
