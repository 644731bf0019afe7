import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { measureManyStreams } from './support/measured-memory.mjs';
import { scene } from '../calls/support.js';
import { IS_FULL } from '../support/full-tables.js';
import { recordTiming } from '../support/timing.js';

const STREAMS = 1_000;
const KiB = 1_024;

/** Columns: title; kind of ending; completed and failed streams on the client; streams that the server counts as cancelled. */
const ENDINGS = [
  ['the client is drained', 'drain', { completed: 0, failed: STREAMS }, STREAMS],
  ['the readers unsubscribe', 'cancel', { completed: 0, failed: 0 }, STREAMS],
  ['the server ends the streams', 'end', { completed: STREAMS, failed: 0 }, 0],
  ['the client is closed', 'close', { completed: 0, failed: STREAMS }, STREAMS],
] as const;

describe('1,000 concurrent streams', () => {
  // The client and the server run in separate processes. After each test, both must exit without being killed.
  it.for(IS_FULL ? ENDINGS : ENDINGS.slice(0, 1))(
    'delivers the messages of 1,000 streams, counts the streams, and releases all resources when %s',
    { timeout: 120_000, tags: ['timed'] },
    async ([, ending, outcome, cancelled], { task }) => {
      const measured = await measureManyStreams(STREAMS, ending);
      expect(measured.active).toBe(STREAMS);
      expect(measured.left).toEqual({ received: STREAMS, open: 0, ...outcome });
      expect(measured.server).toEqual({ open: 0, cancelled });
      expect(measured.open).toEqual([]);
      recordTiming(task, 'time until a thousand streams end, ms', measured.endMs, { atMost: 5_000 });
      // An open stream takes about 6 KiB. After the streams have ended, only compiled code and caches remain.
      expect(measured.growth.client.heap / STREAMS).toBeLessThan(16 * KiB);
      expect(measured.kept.client.heap).toBeLessThan(2_048 * KiB);
    },
  );
});

describe('more streams than a server allows one connection to reset', () => {
  it('completes 1,300 streams on drain() without affecting a call that must finish', { timeout: 60_000 }, async () => {
    const { server, client, echo } = await scene({ methods: { ServerStream: { onDrain: 'complete' } } });
    server.script('ServerStream', { messages: [{}], never: true });
    server.script('UnsafeUnary', { message: { text: 'done' }, hold: 'everything' });
    const streams = Array.from({ length: 1_300 }, () => {
      const stream = { received: 0, end: 'open' };
      echo.serverStream({}).subscribe({
        next: () => (stream.received += 1),
        error: () => (stream.end = 'failed'),
        complete: () => (stream.end = 'completed'),
      });
      return stream;
    });
    await waitFor(() => streams.every(({ received }) => received === 1), { timeoutMs: 20_000 });
    const held = firstValueFrom(echo.unsafeUnary({}));
    await waitFor(() => server.heldCount('UnsafeUnary') === 1);
    const drained = client.drain({ timeoutMs: 60_000 });
    await waitFor(() => streams.every(({ end }) => end === 'completed'), { timeoutMs: 20_000 });
    // Waits until the server has received most of the resets, because only received resets can affect the connection.
    await waitFor(() => server.counts('ServerStream').cancelled >= 900, { timeoutMs: 20_000 });
    server.release('UnsafeUnary');
    expect(await held).toMatchObject({ text: 'done' });
    expect(await drained).toMatchObject({ finished: 1, completed: 1_300, cancelled: 0 });
    await waitFor(() => server.counts().open === 0);
  });
});
