import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ChildServer, FaultProxy, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { Observable } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CallLoad } from '../../support/call-load.js';
import { ORDERS_PROTO } from '../../support/orders-app.js';

const PYTHON = '/usr/bin/python3';
const POLICIES = ['pick_first', 'round_robin'] as const;
type Policy = (typeof POLICIES)[number];

/** Clients that are not ours, and what their calls came to. */
interface Strangers {
  /** Pids of the servers whose answers they had. */
  readonly from: readonly string[];
  stop(): Promise<{ readonly calls: number; readonly failed: readonly string[] }>;
}

// Applications as their users run them, restarted as a cluster does: SIGTERM, and the next one when that is back.
describe('a rolling restart of two servers fails no call', () => {
  const leaks = captureLeaks();
  let servers: ChildServer[];
  let wires: FaultProxy[];
  let strangers: readonly Strangers[];

  beforeEach(async () => {
    strangers = [];
    const start = () => ChildServer.start({ script: new URL('./orders-app.mjs', import.meta.url) });
    servers = await Promise.all([start(), start()]);
    wires = await Promise.all(servers.map(({ url }) => FaultProxy.start(url)));
    // There are always requests on their way to a server, also to one that has none.
    for (const wire of wires) wire.delay(10);
  });
  afterEach(async () => {
    for (const { stop } of strangers) await stop();
    for (const wire of wires) await wire.close();
    for (const server of servers) await server.close();
    await leaks.settled();
  });

  /** Restarts the servers in turn under the calls of strangers of each policy. */
  async function noneFailsOf(begin: typeof grpcJs): Promise<void> {
    const target = `ipv4:${wires.map(({ url }) => url).join()}`;
    strangers = POLICIES.map((policy) => begin(target, policy, 100));
    for (const server of servers) {
      await served();
      await server.terminate();
      await server.restart();
    }
    await served();
    for (const { stop } of strangers) {
      const { calls, failed } = await stop();
      expect(failed).toEqual([]);
      expect(calls).toBeGreaterThan(100);
    }
  }

  /** Waits until those who ask all servers know both that run, and the others one of them. */
  async function served(): Promise<void> {
    const pids = servers.map(({ pid }) => String(pid));
    const describe = () =>
      `answers of ${pids.join(' and ')}, not only ${JSON.stringify(strangers.map(({ from }) => from))}`;
    await waitFor(() => strangers.every(({ from }) => pids.some((pid) => from.includes(pid))), { describe });
    await waitFor(() => strangers.some(({ from }) => pids.every((pid) => from.includes(pid))), { describe });
  }

  it("of grpc-js's own client, that asks one of them or both in turn", async () => {
    await noneFailsOf(grpcJs);
  });

  it("of Python's grpcio, that asks one of them or both in turn", async ({ skip }) => {
    skip(spawnSync(PYTHON, ['-c', 'import grpc']).status !== 0, `${PYTHON} has no grpcio (Debian: python3-grpcio)`);
    await noneFailsOf(grpcio);
  });
});

const { 'orders.v1.Orders': orders } = loadSync(ORDERS_PROTO) as any;

function grpcJs(target: string, policy: Policy, perSecond: number): Strangers {
  const client = new Client(target, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ [policy]: {} }] }),
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 200,
  });
  const from: string[] = [];
  const { path, requestSerialize, responseDeserialize } = orders.Get;
  const get = (number: number) =>
    new Observable((subscriber) => {
      // Answered at once, or after so many milliseconds.
      const id = number % 2 === 0 ? '0' : '20';
      const options = { deadline: Date.now() + 10_000 };
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { id }, options, (error, order: any) => {
        if (error) return subscriber.error(error);
        if (!from.includes(order.item)) from.push(order.item);
        subscriber.complete();
      });
    });
  const load = CallLoad.start(perSecond, get);
  const end = async () => {
    await load.stop();
    client.close();
  };
  return {
    from,
    stop: async () => {
      await end();
      return { calls: load.calls.length, failed: load.failed.map(({ error }) => String(error)) };
    },
  };
}

function grpcio(target: string, policy: Policy, perSecond: number): Strangers {
  const script = join(import.meta.dirname, 'stranger.py');
  const child = spawn(PYTHON, [script, target, policy, String(perSecond)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const from: string[] = [];
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (output + text).split('\n');
    output = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('from ')) from.push(line.slice('from '.length));
      else output = line;
    }
  });
  const summary = once(child, 'close').then(() => JSON.parse(output));
  return {
    from,
    stop: () => {
      // The end of its standard input is its own, however that comes.
      child.stdin.end();
      return summary;
    },
  };
}
