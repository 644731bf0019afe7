import {
  captureLeaks,
  chaos,
  ChildServer,
  FaultProxy,
  Http2FaultProxy,
  http2Faults,
  networkFaults,
  planChaos,
  serverFaults,
} from 'nestjs-resilient-grpc/testing';
import type { ChaosFault } from 'nestjs-resilient-grpc/testing';
import { from, tap } from 'rxjs';
import { expect, it, onTestFinished } from 'vitest';
import { startClient, type EchoService } from '../calls/support.js';
import { CallLoad } from '../support/call-load.js';
import { EchoClient } from './echo-client.js';

const script = new URL('./fixtures/echo-server.mjs', import.meta.url);

/** A server in a process of its own, behind a proxy of each kind, with all of their faults. */
async function place() {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const server = await ChildServer.start({ script });
  onTestFinished(() => server.close());
  const http2 = await Http2FaultProxy.start(server.url);
  onTestFinished(() => http2.close());
  const proxy = await FaultProxy.start(http2.url);
  onTestFinished(() => proxy.close());
  const faults = [...networkFaults(proxy), ...http2Faults(http2), ...serverFaults(server)];
  return { server, url: proxy.url, proxy, http2, faults };
}

it("our client loses no safe call in the chaos of all three kits, which grpc-js's own does not survive", async ({
  signal,
}) => {
  const { server, url, faults } = await place();
  const client = await startClient({ url });
  const echo = client.getService<EchoService>('Echo');
  const plain = new EchoClient(url);
  onTestFinished(() => {
    plain.close();
  });
  const options = { seed: 11, durationMs: 5_500, distanceMs: [200, 500], quietMs: 800, faults, signal } as const;
  const { steps } = planChaos(options);
  console.log(`chaos of seed 11: ${steps.map(({ fault, forMs }) => `${fault} ${forMs} ms`).join(', ')}`);
  expect(new Set(steps.map(({ fault }) => fault)).size).toBeGreaterThanOrEqual(5);
  await chaos(options, async ({ signal: over }) => {
    const load = CallLoad.start(20, (number) => echo.unary({ number }));
    const plainLoad = CallLoad.start(20, (number) =>
      from(plain.unary({ number })).pipe(tap(({ error }) => raise(error))),
    );
    await new Promise((resolve) => {
      over.addEventListener('abort', resolve);
    });
    await Promise.all([load.stop(), plainLoad.stop()]);
    expect(load.failed.map(({ error, number }) => [number, String(error)])).toEqual([]);
    expect(load.succeeded.length).toBeGreaterThan(80);
    console.log(
      `of ${load.calls.length} calls each ours lost ${load.failed.length}, grpc-js ${plainLoad.failed.length}`,
    );
    expect(plainLoad.failed.length).toBeGreaterThan(0);
  });
  expect(server.running).toBe(true);
}, 30_000);

it('each fault of the kits is healed by its end, on a connection that is open too', async () => {
  const { url, faults } = await place();
  const client = new EchoClient(url);
  onTestFinished(() => client.close());
  for (const { name, begin, end } of faults as readonly Required<ChaosFault>[]) {
    await client.unary({ text: 'before' });
    await begin();
    await end?.();
    // Those that end connections do so for good; the next call opens one.
    const after = async () => (await client.unary({ text: name })).value?.text;
    await expect.poll(after, { timeout: 5_000, interval: 20 }).toBe(name);
  }
});

function raise(error: Error | undefined): void {
  if (error !== undefined) throw error;
}
