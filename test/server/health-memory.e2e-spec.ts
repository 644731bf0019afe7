import { Client, credentials, type ClientReadableStream } from '@grpc/grpc-js';
import { ChildServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { expect, it } from 'vitest';

const WATCHERS = Number(process.env['WATCHERS'] ?? 1_500);
const PATH = '/grpc.health.v1.Health/Watch';
const bytes = (value: Buffer) => value;

/** Measures the heap bytes that a server uses per health watcher, as the average of `WATCHERS` watchers. */
async function measureBytesPerWatcher(kind: 'ours' | 'nest'): Promise<number> {
  const child = await ChildServer.start({
    script: new URL('./support/watched-server.mjs', import.meta.url),
    execArgv: ['--expose-gc'],
    args: (port) => ['--port', String(port), '--kind', kind],
    ready: /^listening on .*:(\d+)$/,
  });
  const held = async () => {
    const before = child.messages.length;
    child.send('held');
    // The cast is safe because the child sends nothing else.
    return ((await waitFor(() => child.messages[before])) as { heap: number }).heap;
  };
  const client = new Client(child.url, credentials.createInsecure());
  let answered = 0;
  const watch = () =>
    new Promise<ClientReadableStream<Buffer>>((resolve) => {
      const call = client.makeServerStreamRequest(PATH, bytes, bytes, Buffer.alloc(0));
      call.on('error', () => undefined);
      call.once('data', () => {
        answered += 1;
        resolve(call);
      });
    });
  // Opens one watcher before the measurement, because the first watcher also loads everything that all watchers share.
  await watch();
  const before = await held();
  await Promise.all(Array.from({ length: WATCHERS }, watch));
  const after = await held();
  expect(answered).toBe(WATCHERS + 1);
  client.close();
  await child.close();
  return (after - before) / WATCHERS;
}

it("uses at most 5% more heap per health watcher than Nest's server with grpc-health-check", async ({ annotate }) => {
  const nest = await measureBytesPerWatcher('nest');
  const ours = await measureBytesPerWatcher('ours');
  await annotate(`bytes per watcher: ${ours.toFixed()}; with Nest's server: ${nest.toFixed()}`);
  // The tolerance of 5% covers the variation of the heap after a garbage collection.
  expect(ours).toBeLessThan(nest * 1.05);
});
