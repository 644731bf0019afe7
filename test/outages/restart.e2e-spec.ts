import type { GrpcCallError, GrpcClientEvent } from 'nestjs-resilient-grpc';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import type { Observable } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { PlainClient } from '../server/support/plain-client.js';
import { CallLoad, median } from '../support/call-load.js';
import { aboveDebug, startOrdersApp, type OrdersOf } from '../support/orders-app.js';
import { OrdersProcess } from '../support/orders-process.js';
import { timeStoodStill } from '../support/standstill.js';

const GET = (number: number) => `get ${number}`;
const CREATE = (number: number) => `create ${number}`;

/** When the channel last went from one state to another, in milliseconds since 1970. */
function changesOf({ client }: OrdersOf): { readonly lostAt: number; readonly readyAt: number } {
  const seen = { lostAt: 0, readyAt: 0 };
  client.events$.subscribe((event: GrpcClientEvent) => {
    if (event.type !== 'connectivity') return;
    if (event.from === 'READY') seen.lostAt = event.at;
    if (event.to === 'READY') seen.readyAt = event.at;
  });
  return seen;
}

/** Which of `keys` arrived more than once. */
function arrivedTwice(arrived: readonly string[], key: (number: number) => string, load: CallLoad): readonly string[] {
  const keys = new Set(load.calls.map(({ number }) => key(number)));
  const counts = new Map<string, number>();
  for (const line of arrived) if (keys.has(line)) counts.set(line, (counts.get(line) ?? 0) + 1);
  return [...counts].filter(([, count]) => count > 1).map(([line]) => line);
}

/** What plain clients wait for their first answers from a `server` that has just started, when each of its ports is called at once. */
async function firstAnswersMs(server: OrdersProcess): Promise<readonly number[]> {
  await server.restartAfter(0);
  const clients = server.bound.map(({ port }) => new PlainClient(`127.0.0.1:${port}`));
  const beganAt = Date.now();
  return Promise.all(clients.map((client) => client.get().then(() => Date.now() - beganAt)));
}

const messages = (load: CallLoad) => load.failed.map(({ error }) => (error as Error).message);

describe('a restart of the only server', () => {
  // Called first, asked last: what a test registers is ended in reverse order.
  beforeEach(({ onTestFinished }) => {
    const leaks = captureLeaks();
    onTestFinished(() => leaks.settled());
  });

  async function startServer(options: Parameters<typeof OrdersProcess.start>[0] = {}): Promise<OrdersProcess> {
    const server = await OrdersProcess.start(options);
    onTestFinished(() => server.close());
    return server;
  }
  async function startApp(...settings: Parameters<typeof startOrdersApp>) {
    const app = await startOrdersApp(...settings);
    onTestFinished(() => app.close());
    return app;
  }

  describe('by SIGKILL, 3 s long, under 200 calls a second', () => {
    async function restartUnder(call: (app: OrdersOf, number: number) => Observable<unknown>) {
      // Slow enough that the machine's own pace does not look like a slow server, which would be given more time.
      const server = await startServer({ delayMs: 150 });
      const app = await startApp({ url: server.url });
      const changes = changesOf(app);
      const load = CallLoad.start(200, (number) => call(app, number));
      // Older than a second, and used.
      await waitFor(() => load.succeeded.length > 300);
      await server.restartAfter(3_000);
      const standstillMs = timeStoodStill();
      const successesBefore = load.succeeded.length;
      await waitFor(() => load.succeeded.length > successesBefore + 1_000, { timeoutMs: 10_000 });
      await load.stop();
      const { lostAt, readyAt } = changes;
      const waited = load.calls.filter(({ startedAt, endedAt }) => startedAt < readyAt && endedAt! > readyAt);
      // Three seconds' worth, less what was answered before.
      expect(waited.length).toBeGreaterThan(400);
      expect(Math.max(...waited.map(({ endedAt }) => endedAt! - readyAt))).toBeLessThan(3_000 + standstillMs());
      return { load, lostAt, arrived: server.arrived() };
    }

    it('safe calls all succeed', async () => {
      const { load } = await restartUnder(({ orders }, number) => orders.get({ id: String(number) }));
      expect(messages(load)).toEqual([]);
    });

    it('others are never sent twice, and fail only if they were on the wire', async () => {
      const { load, lostAt, arrived } = await restartUnder(({ orders }, number) =>
        orders.create({ requestId: String(number), item: 'tea', quantity: 1 }),
      );
      expect(arrivedTwice(arrived, CREATE, load)).toEqual([]);
      // Some were on the wire.
      expect(load.failed.length).toBeGreaterThan(0);
      for (const { error, startedAt } of load.failed) {
        expect(error).toMatchObject({ codeName: 'UNAVAILABLE', reason: 'connection-lost' });
        // 'yes' where the headers of its answer had come, and the answer had not.
        expect((error as GrpcCallError).reachedServer).toMatch(/^(maybe|yes)$/);
        expect(startedAt).toBeLessThanOrEqual(lostAt);
      }
      for (const { number, error } of load.calls) {
        if (error === undefined) expect(arrived).toContain(CREATE(number));
      }
    });
  });

  it('in order (tryShutdown), back within 1 s, fails no call of either kind and is worth no line above debug', async () => {
    const server = await startServer({ delayMs: 20 });
    const app = await startApp({ url: server.url });
    const changes = changesOf(app);
    const gets = CallLoad.start(200, (number) => app.orders.get({ id: String(number) }));
    const creates = CallLoad.start(200, (number) =>
      app.orders.create({ requestId: String(number), item: 'tea', quantity: 1 }),
    );
    for (let restarts = 1; restarts <= 2; restarts++) {
      await waitFor(() => app.client.connectivity.state === 'READY' && Date.now() - changes.readyAt > 1_500);
      await server.restartAfter(950, 'terminate');
    }
    const enough = creates.succeeded.length + 300;
    await waitFor(() => creates.succeeded.length > enough);
    await Promise.all([gets.stop(), creates.stop()]);
    expect(messages(gets)).toEqual([]);
    expect(messages(creates)).toEqual([]);
    expect(arrivedTwice(server.arrived(), CREATE, creates)).toEqual([]);
    expect(arrivedTwice(server.arrived(), GET, gets)).toEqual([]);
    expect(aboveDebug(app)).toEqual([]);
    expect(app.lines).not.toEqual([]);
  });

  it('3 s long is over 400 ms after plain clients of the new server would be answered, 200 ms in the middle of 20 clients', async () => {
    const server = await startServer({ ports: 20 });
    const app = await startApp(server.bound.map(({ port }) => ({ url: `127.0.0.1:${port}` })));
    // What is timed is the way back: some calls wait for it at each client, and few, as a server that has just started is slow.
    const loads = app.clients.map(({ orders }) => CallLoad.start(5, () => orders.get({ id: 'any' })));
    await waitFor(() => loads.every(({ succeeded }) => succeeded.length > 7));
    await server.restartAfter(3_000);
    const firstAfter = (load: CallLoad, at: number) => {
      const after = load.succeeded.map(({ endedAt }) => endedAt!).filter((endedAt) => endedAt >= at);
      return after.length === 0 ? undefined : Math.min(...after) - at;
    };
    const recoveries = () => server.bound.map(({ at }, index) => firstAfter(loads[index]!, at));
    await waitFor(() => recoveries().every((recovery) => recovery !== undefined));
    await Promise.all(loads.map((load) => load.stop()));
    const recoveryMs = recoveries() as number[];
    const plainMs = await firstAnswersMs(server);
    expect(loads.flatMap(messages)).toEqual([]);
    expect(Math.max(...recoveryMs)).toBeLessThan(400 + Math.max(...plainMs));
    expect(median(recoveryMs)).toBeLessThanOrEqual(200 + median(plainMs));
  });
});
