import { status } from '@grpc/grpc-js';
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
  waitFor,
} from 'nestjs-resilient-grpc/testing';
import type { ChaosFault, Http2FaultName, NetworkFaultName, ServerFaultName } from 'nestjs-resilient-grpc/testing';
import { from, tap } from 'rxjs';
import { expect, it, onTestFinished } from 'vitest';
import { startClient, type EchoService } from '../calls/support.js';
import { CallLoad } from '../support/call-load.js';
import { EchoClient } from './echo-client.js';

const script = new URL('./fixtures/echo-server.mjs', import.meta.url);

/** Starts a server in its own process, and a FaultProxy that forwards to it through an Http2FaultProxy. Also returns their faults. */
async function startTargets() {
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

it('completes every idempotent call of the resilient client under planned chaos, while calls of a plain grpc-js client fail', async ({
  signal,
}) => {
  const { server, url, faults } = await startTargets();
  const client = await startClient({ url });
  const echo = client.getService<EchoService>('Echo');
  const plain = new EchoClient(url);
  onTestFinished(() => {
    plain.close();
  });
  const options = { seed: 11, durationMs: 5_500, distanceMs: [200, 500], quietMs: 800, faults, signal } as const;
  const { steps } = planChaos(options);
  console.log(`chaos with seed 11: ${steps.map(({ fault, forMs }) => `${fault} ${forMs} ms`).join(', ')}`);
  expect(new Set(steps.map(({ fault }) => fault)).size).toBeGreaterThanOrEqual(5);
  await chaos(options, async ({ signal: over }) => {
    const load = CallLoad.start(20, (number) => echo.unary({ number }));
    const plainLoad = CallLoad.start(20, (number) =>
      from(plain.unary({ number })).pipe(tap(({ error }) => raise(error))),
    );
    await new Promise((resolve) => {
      over.addEventListener('abort', resolve);
    });
    // Continues the load until more than 80 calls have succeeded, which takes longer on a busy machine.
    await waitFor(() => load.succeeded.length > 80, { timeoutMs: 20_000 });
    await Promise.all([load.stop(), plainLoad.stop()]);
    expect(load.failed.map(({ error, number }) => [number, String(error)])).toEqual([]);
    const failures = [load, plainLoad].map(({ failed, calls }) => `${failed.length} of ${calls.length}`);
    console.log(`failed calls: ${failures[0]} with the resilient client, ${failures[1]} with grpc-js`);
    expect(plainLoad.failed.length).toBeGreaterThan(0);
  });
  expect(server.running).toBe(true);
}, 60_000);

/** Effect of a fault on a call. 'reconnects': the call succeeds, but on a new connection. */
type Seen = 'fails' | 'waits' | 'late' | 'reconnects';
const SEEN: Readonly<Record<NetworkFaultName | `http2-${Http2FaultName}` | ServerFaultName, Seen>> = {
  reset: 'reconnects',
  close: 'reconnects',
  outage: 'fails',
  'black-hole': 'waits',
  cut: 'fails',
  delay: 'late',
  'http2-goaway': 'reconnects',
  'http2-unprocessed': 'reconnects',
  'http2-refused': 'fails',
  'http2-reset': 'fails',
  'http2-missing-trailers': 'fails',
  'http2-stream-limit': 'waits',
  'http2-held-settings': 'waits',
  kill: 'fails',
  freeze: 'waits',
  restart: 'fails',
};

it('applies the documented effect of each chaos fault until the fault ends', async () => {
  const { url, faults, http2 } = await startTargets();
  expect(faults.map(({ name }) => name).sort()).toEqual(Object.keys(SEEN).sort());
  const client = new EchoClient(url);
  onTestFinished(() => client.close());
  const isServed = async () => (await client.unary({ text: 'well' })).value?.text === 'well';
  const waitUntilServed = () => expect.poll(isServed, { timeout: 20_000, interval: 10 }).toBe(true);
  const callTimesOut = async () =>
    (await client.unary({}, { deadline: Date.now() + 150 })).status.code === status.DEADLINE_EXCEEDED;
  const isLate = async () => {
    const startedAt = performance.now();
    await client.unary({});
    return performance.now() - startedAt >= 190;
  };
  for (const { name, begin, end } of faults as readonly Required<ChaosFault>[]) {
    await waitUntilServed();
    const { accepted } = http2.counters;
    // With a limit of one stream, an open stream makes every other call wait.
    const stream = name === 'http2-stream-limit' ? client.serverStream({ number: 1_000 }) : undefined;
    if (stream !== undefined) await waitFor(() => stream.messages.length > 0);
    await begin();
    const seen = SEEN[name as keyof typeof SEEN];
    if (seen === 'fails') expect(await isServed(), name).toBe(false);
    // Repeats the call: a call may start before the fault takes effect, e.g. before the client receives the GOAWAY of http2-held-settings.
    if (seen === 'waits') await waitFor(callTimesOut, { describe: () => `${name} to make calls wait` });
    if (seen === 'late') expect(await isLate(), name).toBe(true);
    if (seen === 'reconnects') {
      await waitUntilServed();
      expect(http2.counters.accepted, name).toBe(accepted + 1);
    }
    await end?.();
    await waitUntilServed();
    if (seen === 'late') await expect.poll(isLate, { timeout: 20_000 }).toBe(false);
    // A fault that ends before it affects a call must not affect later calls.
    const { failed } = http2.counters;
    if (seen === 'fails' && /^(cut|http2)/.test(name)) {
      await begin();
      await end();
    }
    expect([await isServed(), await isServed()], name).toEqual([true, true]);
    expect(http2.counters.failed, name).toBe(failed);
    stream?.call.cancel();
  }
}, 60_000);

it('keeps the other settings of a proxy when a chaos fault ends', async () => {
  const { url, proxy, http2 } = await startTargets();
  const client = new EchoClient(url);
  onTestFinished(() => client.close());
  proxy.delay(20);
  http2.failCalls({ kind: 'reset', code: 'INTERNAL_ERROR' }, { times: Infinity });
  for (const { name, begin, end } of [...networkFaults(proxy), ...http2Faults(http2)]) {
    if (name === 'delay') continue;
    await begin();
    await end?.();
  }
  await waitFor(async () => (await client.unary({})).status.code === status.INTERNAL);
  const startedAt = performance.now();
  expect((await client.unary({})).status.code).toBe(status.INTERNAL);
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(35);
});

function raise(error: Error | undefined): void {
  if (error !== undefined) throw error;
}
