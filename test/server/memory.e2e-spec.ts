import { Client, credentials, status, type ServiceError } from '@grpc/grpc-js';
import { ChildServer, FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { describe, expect, it } from 'vitest';
import { settled } from '../calls/support.js';
import { bundled } from '../support/bundled.js';

const MiB = 1024 * 1024;
const MESSAGES = 3_000;
/** Number of messages that the Observable emits before the test requests the rest. */
const FIRST_MESSAGES = 32;
const IDLE_MS = 1_500;

interface Held {
  readonly heap: number;
  readonly resident: number;
  readonly made: number;
  readonly streams: number;
  readonly lingering: number;
}

async function startPouringServer(source: 'generator' | 'observable', options: object) {
  const child = await ChildServer.start({
    script: bundled(new URL('./support/pouring-server.mjs', import.meta.url)),
    execArgv: ['--expose-gc'],
    args: (port) => ['--port', String(port), '--source', source, '--options', JSON.stringify(options)],
    ready: /^listening on .*:(\d+)$/,
  });
  const held = async (): Promise<Held> => {
    const before = child.messages.length;
    child.send('held');
    // The cast is safe because the child sends nothing else.
    return (await waitFor(() => child.messages[before])) as Held;
  };
  const proxy = await FaultProxy.start(child.url);
  const client = new Client(proxy.url, credentials.createInsecure(), { 'grpc.max_receive_message_length': -1 });
  const bytes = (value: Buffer) => value;
  const stream = client.makeServerStreamRequest('/orders.v1.Orders/Watch', bytes, bytes, Buffer.alloc(0));
  const ended = new Promise<ServiceError>((resolve) => stream.on('error', resolve));
  let got = 0;
  const stopAfter = (count: number): void => {
    stream.on('data', () => {
      got += 1;
      if (got === count) stream.pause();
    });
  };
  return {
    held,
    ended,
    /** Waits until the client has stopped reading and accepts no more bytes, and then makes the Observable emit its other messages. */
    pour: async () => {
      await waitFor(() => got === 1);
      await waitFor(async () => (await held()).made === FIRST_MESSAGES, { timeoutMs: 20_000 });
      // Waits for ten consecutive equal byte counts. Between two counts, the server, the proxy, and the client each get a turn, because
      // counts also stay equal while one of these processes waits for the CPU.
      let before = -1;
      for (let unchanged = 0; unchanged < 10; unchanged++) {
        await held();
        const bytes = await settled(() => proxy.counters.bytesToClient);
        if (bytes !== before) unchanged = 0;
        before = bytes;
      }
      child.send('pour');
    },
    stopAfter,
    got: () => got,
    resume: () => stream.resume(),
    completed: new Promise<void>((resolve) => stream.on('end', resolve)),
    close: async () => {
      client.close();
      await proxy.close();
      await child.close();
    },
  };
}

describe('client that stops reading', () => {
  it.each([
    // The status cannot overtake the unread messages, so the server resets the stream. It uses CANCEL after the idle timeout, and
    // ENHANCE_YOUR_CALM if the response queue overflows. Clients map ENHANCE_YOUR_CALM to RESOURCE_EXHAUSTED.
    ['generator', status.CANCELLED, IDLE_MS, 0],
    // Less than 64 MiB does not show that the client has stopped reading.
    ['observable', status.RESOURCE_EXHAUSTED, 60_000, 64 * MiB],
  ] as const)(
    'ends a response stream (source: %s) and limits server memory if the client stops reading',
    async (source, code, maxStreamIdleMs, ahead) => {
      const server = await startPouringServer(source, { maxStreamIdleMs });
      const before = await server.held();
      server.stopAfter(1);
      if (source === 'observable') await server.pour();
      let last = before;
      let peak = { heap: 0, resident: 0 };
      await waitFor(
        async () => {
          last = await server.held();
          peak = {
            heap: Math.max(peak.heap, last.heap - before.heap),
            resident: Math.max(peak.resident, last.resident - before.resident),
          };
          return last.made > 0 && last.streams === 0;
        },
        { intervalMs: 50, timeoutMs: 25_000 },
      );
      expect(peak.heap, `${last.made} messages made`).toBeLessThan(16 * MiB + ahead);
      expect(peak.resident).toBeLessThan(64 * MiB + ahead);
      // The server makes only the messages that fit into the window, the buffers of both sides, and the response queue.
      expect(last.made).toBeLessThan(ahead === 0 ? MESSAGES / 10 : MESSAGES / 2);
      expect(last.lingering).toBe(0);
      server.resume();
      expect((await server.ended).code).toBe(code);
      await server.close();
    },
  );

  it('delivers every message of a response stream if the client pauses and resumes reading within maxStreamIdleMs', async () => {
    const server = await startPouringServer('generator', { maxStreamIdleMs: 20_000 });
    server.stopAfter(1);
    await waitFor(() => server.got() === 1);
    let made = -1;
    await waitFor(
      async () => {
        const before = made;
        ({ made } = await server.held());
        return made === before;
      },
      { intervalMs: 100 },
    );
    server.resume();
    await server.completed;
    expect(server.got()).toBe(MESSAGES);
    await server.close();
  });
});
