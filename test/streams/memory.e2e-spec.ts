import { describe, expect, it } from 'vitest';
import { measureSlowReader, measureStoppedReader, type Memories } from '../../bench/memory/measure.mjs';

const MiB = 1024 * 1024;
/** What a process may hold beyond what it held before the first message, however long the stream. */
const HEAP = 16 * MiB;
const RESIDENT = 64 * MiB;

/** Limit for what hangs: ten times as long as a quiet machine needs. */
const timeout = 600_000;

function expectBounded({ client, server }: Memories): void {
  expect(client.heap).toBeLessThan(HEAP);
  expect(server.heap).toBeLessThan(HEAP);
  expect(client.resident).toBeLessThan(RESIDENT);
  expect(server.resident).toBeLessThan(RESIDENT);
}

// Each in two processes of its own: what one holds says nothing of the others.
describe.concurrent('memory of client and server', () => {
  describe.concurrent.each([
    ['40 000 messages of 1 KiB', 1_024, 40_000],
    ['1 500 messages of 64 KiB', 65_536, 1_500],
  ])('in a response stream of %s', (_what, size, count) => {
    it('is bounded while a reader takes ten times as long as he could', { timeout }, async () => {
      const { unthrottled, slow, growth } = await measureSlowReader({ kind: 'watch', size }, count);
      expect(slow).toBeLessThan(unthrottled / 9);
      expectBounded(growth);
    });
  });

  it.each([
    ['upload', 'async-iterable', 1_024, 25_000],
    ['talk', 'iterable', 65_536, 1_500],
  ] as const)(
    'is bounded in the %s of an %s (%i bytes, %i messages) while the server reads ten times slower',
    { timeout },
    async (kind, source, size, count) => {
      const { unthrottled, slow, growth } = await measureSlowReader({ kind, source, size }, count);
      expect(slow).toBeLessThan(unthrottled / 9);
      expectBounded(growth);
    },
  );

  it.each([
    ['upload', 'iterable', 1],
    ['upload', 'async-iterable', 65_536],
    ['talk', 'async-iterable', 1_024],
  ] as const)(
    'is bounded in the %s of an %s (%i bytes) when the server stops reading: the source is left alone, and leaving ends all',
    { timeout },
    async (kind, source, size) => {
      const { taken, growth, end, sourceEnded, active, server } = await measureStoppedReader({ kind, source, size });
      // grpc-js's retry buffer takes 64 KiB, and HTTP/2 as much in flight; its server takes 16 messages that nobody reads.
      expect(taken * size).toBeLessThanOrEqual(2 * 65_536 + (16 + 2) * size);
      expectBounded(growth);
      expect(end).toContain('CANCELLED');
      expect({ sourceEnded, active, server }).toEqual({
        sourceEnded: true,
        active: 0,
        server: { open: 0, cancelled: 1 },
      });
    },
  );
});
