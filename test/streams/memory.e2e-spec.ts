import { describe, expect, it } from 'vitest';
import { measureSlowReader, measureStoppedReader, type Memories, type Stream } from './support/measured-memory.mjs';

const MiB = 1024 * 1024;
/** Maximum memory growth of a process after a warm-up stream, regardless of the stream length. */
const MAX_HEAP_BYTES = 16 * MiB;
const MAX_RESIDENT_BYTES = 64 * MiB;

/** Timeout of a test in milliseconds, ten times its duration on an idle machine; only a test that hangs reaches it. */
const timeout = 600_000;

const SLOW_READERS: readonly { readonly stream: Stream; readonly messages: number }[] = [
  { stream: { kind: 'watch', size: 1_024 }, messages: 100_000 },
  { stream: { kind: 'watch', size: 65_536 }, messages: 3_000 },
  { stream: { kind: 'upload', source: 'async-iterable', size: 1_024 }, messages: 25_000 },
  { stream: { kind: 'upload', source: 'iterable', size: 65_536 }, messages: 1_500 },
  { stream: { kind: 'talk', source: 'iterable', size: 1_024 }, messages: 25_000 },
  { stream: { kind: 'talk', source: 'iterable', size: 65_536 }, messages: 1_500 },
  { stream: { kind: 'talk', source: 'async-iterable', size: 65_536 }, messages: 1_500 },
];

const STOPPED_READERS: readonly Stream[] = [
  { kind: 'upload', source: 'iterable', size: 1 },
  { kind: 'upload', source: 'iterable', size: 1_024 },
  { kind: 'upload', source: 'async-iterable', size: 65_536 },
  { kind: 'talk', source: 'async-iterable', size: 1_024 },
  { kind: 'talk', source: 'iterable', size: 65_536 },
];

/** Name of `stream` for a title: 'upload/iterable/1024'. */
const nameOf = (stream: Stream) => Object.values(stream).join('/');

function expectBounded({ client, server }: Memories): void {
  expect(client.heap).toBeLessThan(MAX_HEAP_BYTES);
  expect(server.heap).toBeLessThan(MAX_HEAP_BYTES);
  expect(client.resident).toBeLessThan(MAX_RESIDENT_BYTES);
  expect(server.resident).toBeLessThan(MAX_RESIDENT_BYTES);
}

// Each test has its own two processes, so that the memory of one test is not measured in another.
describe.concurrent('memory of client and server', () => {
  for (const { stream, messages } of SLOW_READERS) {
    it(
      `keeps memory bounded in ${nameOf(stream)} of ${messages} messages if the reader is ten times slower than an unthrottled one`,
      { timeout },
      async () => {
        const { unthrottled, slow, growth } = await measureSlowReader(stream, messages);
        expect(slow).toBeLessThan(unthrottled / 9);
        expectBounded(growth);
      },
    );
  }

  for (const stream of STOPPED_READERS) {
    it(
      `keeps memory bounded in ${nameOf(stream)} if the server stops reading, and ends the call on cancellation`,
      { timeout },
      async () => {
        const { taken, growth, end, sourceEnded, active, server } = await measureStoppedReader(stream);
        // The queue of the call, or grpc-js's retry buffer, accepts 64 KiB, and HTTP/2 buffers 64 KiB more. The server of grpc-js accepts
        // 16 unread messages.
        expect(taken * stream.size).toBeLessThanOrEqual(2 * 65_536 + (16 + 2) * stream.size);
        expectBounded(growth);
        expect(end).toContain('CANCELLED');
        expect({ sourceEnded, active, server }).toEqual({
          sourceEnded: true,
          active: 0,
          server: { open: 0, cancelled: 1 },
        });
      },
    );
  }
});
