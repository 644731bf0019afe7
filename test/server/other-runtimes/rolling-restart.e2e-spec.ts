import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ChildServer, FaultProxy, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { Observable } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundled } from '../../support/bundled.js';
import { CallLoad } from '../../support/call-load.js';
import { ORDERS_PROTO } from '../../support/orders-app.js';
import { PYTHON, isInstalled, skipWithout } from '../../support/programs.js';

const POLICIES = ['pick_first', 'round_robin'] as const;
type Policy = (typeof POLICIES)[number];

/** A client other than this library's, which makes calls at a steady rate. */
interface LoadClient {
  /** Pids of the servers that have responded. */
  readonly serverPids: readonly string[];
  stop(): Promise<Ended>;
}

interface Ended {
  /** Pids of the servers that responded. */
  readonly serverPids: readonly string[];
  readonly failed: readonly string[];
}

/** Timeout for conditions that may take a long time on a busy machine. */
const PATIENTLY = { timeoutMs: 25_000 };

// Restarts full applications as a cluster does. Sends SIGTERM to one server, and to the next one after the first has restarted.
describe('rolling restart of two servers', () => {
  const leaks = captureLeaks();
  let servers: ChildServer[];
  let wires: FaultProxy[];
  const clients: LoadClient[] = [];
  /** Results of the clients, one per policy, keyed by the function that started the clients. */
  const ended = new Map<typeof startGrpcJs, Ended[]>();

  // All clients share the servers, because each server takes a second to start.
  beforeAll(async () => {
    const script = bundled(new URL('./orders-app.mjs', import.meta.url));
    const start = () => ChildServer.start({ script, readyTimeoutMs: PATIENTLY.timeoutMs });
    servers = await Promise.all([start(), start()]);
    wires = await Promise.all(servers.map(({ url }) => FaultProxy.start(url)));
    // With this delay, requests can be in flight to a server that has no open calls.
    for (const wire of wires) wire.delay(10);
    const target = `ipv4:${wires.map(({ url }) => url).join()}`;
    const kinds = isInstalled('grpcio') ? [startGrpcJs, startGrpcio] : [startGrpcJs];
    const begun = kinds.map((begin) => POLICIES.map((policy) => begin(target, policy, 25)));
    clients.push(...begun.flat());
    for (const server of servers) {
      await Promise.all(begun.map(waitForResponses));
      await server.terminate(PATIENTLY.timeoutMs);
      await server.restart();
    }
    await Promise.all(begun.map(waitForResponses));
    for (const [at, begin] of kinds.entries()) {
      ended.set(begin, await Promise.all((begun[at] ?? []).map(({ stop }) => stop())));
    }
  }, 90_000);
  afterAll(async () => {
    for (const { stop } of clients) await stop();
    for (const wire of wires) await wire.close();
    for (const server of servers) await server.close();
    await leaks.settled();
  });

  /**
   * Waits until each client in `started` has received a response from a running server, and at least one client has received responses from
   * both.
   */
  async function waitForResponses(started: readonly LoadClient[]): Promise<void> {
    const pids = servers.map(({ pid }) => String(pid));
    const describe = () =>
      `responses from ${pids.join(' and ')}, not only ${JSON.stringify(started.map(({ serverPids }) => serverPids))}`;
    const options = { ...PATIENTLY, describe };
    await waitFor(() => started.every(({ serverPids }) => pids.some((pid) => serverPids.includes(pid))), options);
    await waitFor(() => started.some(({ serverPids }) => pids.every((pid) => serverPids.includes(pid))), options);
  }

  function expectNoneFailed(begin: typeof startGrpcJs): void {
    expect(ended.get(begin)).toHaveLength(POLICIES.length);
    for (const { serverPids, failed } of ended.get(begin) ?? []) {
      expect(failed).toEqual([]);
      // The client made calls before and after a restart.
      expect(serverPids.length).toBeGreaterThan(1);
    }
  }

  it("fails no call of grpc-js's own client with pick_first or round_robin during a rolling restart", () => {
    expectNoneFailed(startGrpcJs);
  });

  it("fails no call of Python's grpcio with pick_first or round_robin during a rolling restart", ({ skip }) => {
    skip(...skipWithout('grpcio'));
    expectNoneFailed(startGrpcio);
  });
});

const { 'orders.v1.Orders': orders } = loadSync(ORDERS_PROTO) as any;

function startGrpcJs(target: string, policy: Policy, perSecond: number): LoadClient {
  const client = new Client(target, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ [policy]: {} }] }),
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 200,
  });
  const serverPids: string[] = [];
  const { path, requestSerialize, responseDeserialize } = orders.Get;
  const get = (number: number) =>
    new Observable((subscriber) => {
      // The server responds after this many milliseconds.
      const id = number % 2 === 0 ? '0' : '20';
      const options = { deadline: Date.now() + 30_000 };
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { id }, options, (error, order: any) => {
        if (error) return subscriber.error(error);
        if (!serverPids.includes(order.item)) serverPids.push(order.item);
        subscriber.complete();
      });
    });
  const load = CallLoad.start(perSecond, get);
  const end = async () => {
    await load.stop(30_000);
    client.close();
  };
  return {
    serverPids,
    stop: async () => {
      await end();
      return { serverPids, failed: load.failed.map(({ error }) => String(error)) };
    },
  };
}

function startGrpcio(target: string, policy: Policy, perSecond: number): LoadClient {
  const script = join(import.meta.dirname, 'grpcio_client.py');
  const child = spawn(PYTHON, [script, target, policy, String(perSecond)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const serverPids: string[] = [];
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (output + text).split('\n');
    output = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('from ')) serverPids.push(line.slice('from '.length));
      else output = line;
    }
  });
  const summary = once(child, 'close').then(() => ({ serverPids, ...JSON.parse(output) }));
  return {
    serverPids,
    stop: () => {
      // The script ends when its standard input closes.
      child.stdin.end();
      return summary;
    },
  };
}
