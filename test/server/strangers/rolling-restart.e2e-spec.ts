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

/** Clients that are not ours, and what their calls came to. */
interface Strangers {
  /** Pids of the servers whose answers they had. */
  readonly from: readonly string[];
  stop(): Promise<Ended>;
}

interface Ended {
  readonly calls: number;
  readonly failed: readonly string[];
}

/** Limit for conditions that a busy machine reaches late. */
const PATIENTLY = { timeoutMs: 25_000 };

// Applications as their users run them, restarted as a cluster does: SIGTERM, and the next one when that is back.
describe('a rolling restart of two servers fails no call', () => {
  const leaks = captureLeaks();
  let servers: ChildServer[];
  let wires: FaultProxy[];
  const strangers: Strangers[] = [];
  /** By the functions that began them: the calls of all policies. */
  const ended = new Map<typeof grpcJs, Ended[]>();

  // All at the same servers, which take a second each to start.
  beforeAll(async () => {
    const script = bundled(new URL('./orders-app.mjs', import.meta.url));
    const start = () => ChildServer.start({ script, readyTimeoutMs: PATIENTLY.timeoutMs });
    servers = await Promise.all([start(), start()]);
    wires = await Promise.all(servers.map(({ url }) => FaultProxy.start(url)));
    // There are always requests on their way to a server, also to one that has none.
    for (const wire of wires) wire.delay(10);
    const target = `ipv4:${wires.map(({ url }) => url).join()}`;
    const kinds = isInstalled('grpcio') ? [grpcJs, grpcio] : [grpcJs];
    const begun = kinds.map((begin) => POLICIES.map((policy) => begin(target, policy, 25)));
    strangers.push(...begun.flat());
    for (const server of servers) {
      await Promise.all(begun.map(served));
      await server.terminate(PATIENTLY.timeoutMs);
      await server.restart();
    }
    await Promise.all(begun.map(served));
    for (const [at, begin] of kinds.entries()) {
      ended.set(begin, await Promise.all((begun[at] ?? []).map(({ stop }) => stop())));
    }
  }, 90_000);
  afterAll(async () => {
    for (const { stop } of strangers) await stop();
    for (const wire of wires) await wire.close();
    for (const server of servers) await server.close();
    await leaks.settled();
  });

  /** Waits until those of `kind` who call all servers know both that run, and the others one of them. */
  async function served(kind: readonly Strangers[]): Promise<void> {
    const pids = servers.map(({ pid }) => String(pid));
    const describe = () => `answers of ${pids.join(' and ')}, not only ${JSON.stringify(kind.map(({ from }) => from))}`;
    const options = { ...PATIENTLY, describe };
    await waitFor(() => kind.every(({ from }) => pids.some((pid) => from.includes(pid))), options);
    await waitFor(() => kind.some(({ from }) => pids.every((pid) => from.includes(pid))), options);
  }

  function expectNoneFailed(begin: typeof grpcJs): void {
    expect(ended.get(begin)).toHaveLength(POLICIES.length);
    for (const { calls, failed } of ended.get(begin) ?? []) {
      expect(failed).toEqual([]);
      expect(calls).toBeGreaterThan(50);
    }
  }

  it("of grpc-js's own client, that asks one of them or both in turn", () => {
    expectNoneFailed(grpcJs);
  });

  it("of Python's grpcio, that asks one of them or both in turn", ({ skip }) => {
    skip(...skipWithout('grpcio'));
    expectNoneFailed(grpcio);
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
      const options = { deadline: Date.now() + 30_000 };
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { id }, options, (error, order: any) => {
        if (error) return subscriber.error(error);
        if (!from.includes(order.item)) from.push(order.item);
        subscriber.complete();
      });
    });
  const load = CallLoad.start(perSecond, get);
  const end = async () => {
    await load.stop(30_000);
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
