import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Client, credentials, type ChannelOptions } from '@grpc/grpc-js';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, type Subscription } from 'rxjs';
import { expect, it, onTestFinished } from 'vitest';
import { startClient, type EchoService } from '../calls/support.js';
import { AddressSource } from './address-source.js';
import { ManyListeners } from './many-listeners.js';

const CHANGES = 50;
const ADDRESSES = 200;
/** Number of addresses with a listener; connections to the others are refused. */
const LISTENING = 20;
const FEEDS = 5;

const POLICIES: Readonly<Record<string, object>> = {
  pick_first: { pick_first: {} },
  round_robin: { round_robin: {} },
  outlier_detection: {
    outlier_detection: {
      interval: { seconds: 0, nanos: 100_000_000 },
      base_ejection_time: { seconds: 0, nanos: 100_000_000 },
      success_rate_ejection: {},
      child_policy: [{ round_robin: {} }],
    },
  },
};

/** Short backoffs, because a timer retains each subchannel until the backoff of the subchannel has passed. */
const BACKOFF: ChannelOptions = {
  'grpc.initial_reconnect_backoff_ms': 400,
  'grpc.max_reconnect_backoff_ms': 400,
};
/**
 * Minimum wait in milliseconds before objects are counted. It exceeds the longest backoff, and the interval at which a client checks
 * whether removed connections still carry calls.
 */
const SETTLED_MS = 1_800;

setFlagsFromString('--expose-gc');
// The cast is safe because the flag above gives each new context a `gc`.
const collect = runInNewContext('gc') as () => void;

/** The number of objects that were not garbage-collected, the number of open sockets, and the heap size. */
interface Living {
  readonly subchannels: number;
  readonly transports: number;
  /** Open sockets of the server. */
  readonly sockets: number;
  readonly heapBytes: number;
}

interface Churned extends Living {
  /** Heap growth in bytes between the first and the last change. */
  readonly grownBytes: number;
  /** Number of subchannels ever created. */
  readonly seen: number;
}

/** What a client keeps for one address. */
interface Kept {
  readonly port: number;
  readonly subchannel: object;
  readonly transport: object | null | undefined;
}

interface Caller {
  kept(): readonly Kept[];
  call(): Promise<unknown>;
  feed(): { cancel(): void };
}

/** grpc-js's pool of subchannels, as installed. */
interface Pool {
  readonly pool: Readonly<
    Record<
      string,
      readonly {
        readonly subchannel: object & { readonly transport?: object | null };
        readonly subchannelAddress: { readonly port: number };
      }[]
    >
  >;
  unrefUnusedSubchannels(): void;
}

async function connectPlainCaller(target: string, policy: object): Promise<Caller> {
  const client = new Client(target, credentials.createInsecure(), {
    ...BACKOFF,
    'grpc.enable_channelz': 0,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [policy] }),
  });
  onTestFinished(() => {
    client.close();
  });
  const pass = (bytes: Buffer): Buffer => bytes;
  await new Promise<void>((resolve, reject) => {
    client.waitForReady(Date.now() + 20_000, (error) => (error === undefined ? resolve() : reject(error)));
  });
  // The cast matches the installed grpc-js.
  const { internalChannel } = client.getChannel() as unknown as {
    readonly internalChannel: { readonly subchannelPool: Pool };
  };
  const { subchannelPool } = internalChannel;
  return {
    kept: () => {
      // grpc-js releases unused subchannels every 10 s.
      subchannelPool.unrefUnusedSubchannels();
      return Object.values(subchannelPool.pool)
        .flat()
        .map(({ subchannel, subchannelAddress: { port } }) => ({ port, subchannel, transport: subchannel.transport }));
    },
    call: () =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest('/echo.v1.Echo/Unary', pass, pass, Buffer.alloc(0), (error, value) =>
          error === null ? resolve(value) : reject(error),
        );
      }),
    feed: () => {
      const feed = client.makeServerStreamRequest('/echo.v1.Echo/ServerStream', pass, pass, Buffer.alloc(0));
      feed.on('data', () => undefined).on('error', () => undefined);
      return feed;
    },
  };
}

/** What the library keeps for one address. */
interface AddressConnection {
  readonly address: string;
  readonly connection: object | undefined;
}

async function connectOurCaller(target: string, policy: object): Promise<Caller> {
  const client = await startClient({
    url: target,
    loadBalancing: [policy as Readonly<Record<string, unknown>>],
    channelOptions: BACKOFF,
    connections: { warm: true },
  });
  const echo = client.getService<EchoService>('Echo');
  await client.waitForReady({ timeoutMs: 20_000 });
  const { managed } = client as unknown as {
    readonly managed: {
      readonly current: {
        readonly policy: { readonly control: { readonly connections: { readonly all: Iterable<AddressConnection> } } };
      };
    };
  };
  return {
    kept: () =>
      [...managed.current.policy.control.connections.all].map((subchannel) => ({
        port: Number(subchannel.address.split(':').at(-1)),
        subchannel,
        transport: subchannel.connection,
      })),
    call: () => lastValueFrom(echo.unary({})),
    feed: () => {
      const feed: Subscription = echo.serverStream({}).subscribe({ error: () => undefined });
      return { cancel: () => feed.unsubscribe() };
    },
  };
}

async function churn(make: typeof connectPlainCaller, policy: object): Promise<Churned> {
  const source = new AddressSource();
  const server = new ManyListeners();
  let change = 0;
  const move = async (): Promise<number> => {
    change += 1;
    const unreachable = Array.from(
      { length: ADDRESSES - LISTENING },
      (_, i) => `127.${String(change)}.${String(i)}.1:1`,
    );
    const reachable = await server.move(LISTENING);
    source.resolve(reachable.flatMap((address, i) => [...unreachable.slice(i * 9, i * 9 + 9), address]));
    return Number(reachable.at(-1)?.split(':')[1]);
  };
  await move();
  const caller = await make(source.target, policy);
  const subchannels: WeakRef<object>[] = [];
  const transports: WeakRef<object>[] = [];
  const seen = new WeakSet<object>();
  const record = (refs: WeakRef<object>[], one: object | null | undefined): void => {
    if (one === null || one === undefined || seen.has(one)) return;
    seen.add(one);
    refs.push(new WeakRef(one));
  };
  const recordAll = (): void => {
    for (const { subchannel, transport } of caller.kept()) {
      record(subchannels, subchannel);
      record(transports, transport);
    }
  };
  const feeds: { cancel(): void }[] = [];
  const calls = async (): Promise<void> => {
    recordAll();
    for (let i = 0; i < 10; i++) {
      await caller.call();
      recordAll();
    }
  };
  await calls();
  for (let i = 0; i < FEEDS; i++) feeds.push(caller.feed());
  await waitFor(() => server.feeds === FEEDS);
  const alive = (refs: readonly WeakRef<object>[]): number => refs.filter((ref) => ref.deref() !== undefined).length;
  const count = async (): Promise<Living> => {
    let living = -1;
    for (let unchangedMs = 0; unchangedMs < SETTLED_MS; unchangedMs += SETTLED_MS / 3) {
      // Waits, because an object that a WeakRef returned is not collected before the next turn.
      await new Promise((resolve) => setTimeout(resolve, SETTLED_MS / 3));
      caller.kept();
      collect();
      const now = alive(subchannels);
      if (now !== living) unchangedMs = 0;
      living = now;
    }
    return {
      subchannels: living,
      transports: alive(transports),
      sockets: server.sockets.size,
      heapBytes: process.memoryUsage().heapUsed,
    };
  };
  const before = await count();
  for (let i = 1; i < CHANGES; i++) {
    const port = await move();
    // Our client delays an update that comes within 100 ms of the previous one.
    await waitFor(() => caller.kept().some((one) => one.port === port));
    await calls();
    feeds.shift()?.cancel();
    feeds.push(caller.feed());
  }
  const after = await count();
  for (const feed of feeds) feed.cancel();
  return { ...after, grownBytes: after.heapBytes - before.heapBytes, seen: subchannels.length };
}

/** Returns `plain` plus ten percent, rounded up. */
const plusTenPercent = (plain: number): number => Math.ceil(plain * 1.1);

it.each(Object.entries(POLICIES))(
  'retains at most 10% more subchannels, transports, sockets, and memory than a plain client after many changes of 200 addresses with %s',
  { timeout: 300_000 },
  async (_name, policy) => {
    const plain = await churn(connectPlainCaller, policy);
    const ours = await churn(connectOurCaller, policy);
    // Of the first addresses, pick_first keeps one once it is connected: ours before the first calls, and grpc-js's on a slow machine.
    for (const { seen } of [plain, ours]) expect(seen).toBeGreaterThan((CHANGES - 1) * ADDRESSES);
    expect(ours.subchannels).toBeLessThanOrEqual(plusTenPercent(plain.subchannels));
    expect(ours.transports).toBeLessThanOrEqual(plusTenPercent(plain.transports));
    expect(ours.sockets).toBeLessThanOrEqual(plusTenPercent(plain.sockets));
    expect(ours.grownBytes).toBeLessThan(plain.grownBytes + plain.heapBytes / 10);
  },
);
