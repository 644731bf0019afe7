import { InterceptingCall, type Interceptor } from '@grpc/grpc-js';
import type { GrpcClientEvent, ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { waitFor, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { BehaviorSubject, Subscription } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  failureOf,
  scene,
  startClient,
  startServer,
  toList,
  type ClientSettings,
  type EchoService,
} from '../calls/support.js';

const limitedTo = (streams: number, options = {}) => ({
  serverOptions: { 'grpc.max_concurrent_streams': streams, ...options },
});
const FEED = { messages: [{}], never: true };
const interceptor: Interceptor = (options, next) => new InterceptingCall(next(options));
const CALLS: readonly (readonly [string, ClientSettings])[] = [
  ['without interceptors', {}],
  ['with an interceptor', { channelOptions: { interceptors: [interceptor] } }],
];

function eventsOf(client: ResilientGrpcClient) {
  const events: GrpcClientEvent[] = [];
  const subscription = client.events$.subscribe((event) => events.push(event));
  onTestFinished(() => {
    subscription.unsubscribe();
  });
  return events;
}

/** Opens `count` feeds. Returns the number of opened feeds, the errors, and the subscriptions. The feeds close at the end of the test. */
function openFeeds(client: ResilientGrpcClient, count: number) {
  const echo = client.getService<EchoService>('Echo');
  const all = new Subscription();
  onTestFinished(() => {
    all.unsubscribe();
  });
  const feeds = { opened: 0, failed: [] as unknown[], subscriptions: [] as Subscription[] };
  for (let feed = 0; feed < count; feed += 1) {
    const one = echo.serverStream({ number: feed }).subscribe({
      next: () => (feeds.opened += 1),
      error: (error: unknown) => feeds.failed.push(error),
    });
    feeds.subscriptions.push(one);
    all.add(one);
  }
  return feeds;
}

const openStreams = (client: ResilientGrpcClient) => client.snapshot().connections.map(({ streams }) => streams?.open);

async function fillConnection(settings: ClientSettings, streams = 2, server?: ScriptedGrpcServer) {
  const own = server ?? (await startServer(limitedTo(streams)));
  own.script('ServerStream', FEED);
  const client = await startClient({ url: own.url, ...settings });
  const events = eventsOf(client);
  const feeds = openFeeds(client, streams);
  await waitFor(() => feeds.opened === streams);
  const echo = client.getService<EchoService>('Echo');
  return { server: own, client, echo, feeds, events };
}

const scaled = (maxConnectionsPerSubchannel: number) => ({ connectionScaling: { maxConnectionsPerSubchannel } });

describe.each(CALLS)('calls over the stream limit %s', (_, settings) => {
  it('fails calls over the stream limit at their deadline, and reports that the calls did not reach the server', async () => {
    const { echo, server } = await fillConnection(settings);
    const error = await failureOf(echo.unsafeUnary({}, { timeoutMs: 100 }));
    expect(error).toMatchObject({ codeName: 'DEADLINE_EXCEEDED', reachedServer: 'no' });
    expect(error.details).toContain('the server allows 2 concurrent streams on 1 connection');
    expect(server.counts('UnsafeUnary').calls).toBe(0);
  });

  it('fails cancelled calls over the stream limit, and reports that the calls did not reach the server', async () => {
    const { echo, client, server } = await fillConnection(settings);
    const controller = new AbortController();
    const failed = failureOf(echo.unsafeUnary({}, { signal: controller.signal }));
    await waitFor(() => client.snapshot().waitingForStream === 1);
    controller.abort();
    expect(await failed).toMatchObject({ codeName: 'CANCELLED', reachedServer: 'no' });
    expect(server.counts('UnsafeUnary').calls).toBe(0);
  });

  it('starts calls over the stream limit in the order in which they were made, each when another call ends', async () => {
    const { echo, client, feeds, server } = await fillConnection(settings);
    const order: number[] = [];
    const calls = [1, 2, 3, 4].map((number) => toList(echo.unsafeUnary({ number })).then(() => order.push(number)));
    await waitFor(() => client.snapshot().waitingForStream === 4);
    expect(server.counts('UnsafeUnary').calls).toBe(0);
    feeds.subscriptions[0]!.unsubscribe();
    await Promise.all(calls);
    expect(order).toEqual([1, 2, 3, 4]);
    expect(client.snapshot()).toMatchObject({ waitingForStream: 0, waiting: 0 });
  });

  it('runs calls over the stream limit on additional connections, up to maxConnectionsPerSubchannel', async () => {
    const { client, server } = await fillConnection({ ...settings, serviceConfig: scaled(3) });
    const more = openFeeds(client, 10);
    await waitFor(() => more.opened === 4);
    await waitFor(() => client.snapshot().waitingForStream === 6);
    expect(server.connections.accepted).toBe(3);
    expect(openStreams(client)).toEqual([2, 2, 2]);
    more.subscriptions[0]!.unsubscribe();
    await waitFor(() => more.opened === 5);
    expect(server.connections.accepted).toBe(3);
    expect(more.failed).toEqual([]);
  });

  it('runs calls over the stream limit on additional connections when an updated service config permits more connections (connectionScaling)', async () => {
    const configs = new BehaviorSubject<object>(scaled(1));
    const { client } = await fillConnection({ ...settings, serviceConfig: configs });
    const feeds = openFeeds(client, 3);
    await waitFor(() => client.snapshot().waitingForStream === 3);
    configs.next(scaled(3));
    await waitFor(() => feeds.opened === 3);
    expect(openStreams(client)).toEqual([2, 2, 1]);
    configs.next(scaled(1));
    const late = openFeeds(client, 2);
    await waitFor(() => late.opened === 1 && client.snapshot().waitingForStream === 1);
    expect(openStreams(client)).toEqual([2, 2, 2]);
    expect(feeds.failed).toEqual([]);
  });

  it('runs calls over the stream limit on the free streams of another endpoint', async () => {
    const servers = [await startServer(limitedTo(2)), await startServer(limitedTo(2))] as const;
    for (const server of servers) server.script('ServerStream', FEED);
    const url = `ipv4:${servers.map((server) => server.url).join(',')}`;
    const client = await startClient({ url, loadBalancing: 'round_robin', connections: { warm: true }, ...settings });
    await waitFor(() => openStreams(client).join() === '0,0');
    const feeds = openFeeds(client, 4);
    await waitFor(() => feeds.opened === 4);
    expect(openStreams(client)).toEqual([2, 2]);
    const numbers = servers[1]
      .calls('ServerStream')
      .map(({ requests: [request] }) => Number((request as { number?: unknown } | undefined)?.number));
    for (const number of numbers) feeds.subscriptions[number]!.unsubscribe();
    // Finds the connection by its address, because the order of the list depends on the random address with which round_robin starts.
    const emptied = () => client.snapshot().connections.find(({ address }) => address === servers[1].url);
    await waitFor(() => emptied()?.streams?.open === 0);
    const next = openFeeds(client, 2);
    await waitFor(() => next.opened === 2);
    expect(openStreams(client)).toEqual([2, 2]);
    expect(servers[0].counts('ServerStream').calls).toBe(2);
  });

  it('fails calls over the stream limit when the drain timeout expires', async () => {
    const { client, echo } = await fillConnection(settings);
    const failed = failureOf(echo.unsafeUnary({}));
    await waitFor(() => client.snapshot().waitingForStream === 1);
    await client.drain({ timeoutMs: 50 });
    expect(await failed).toMatchObject({ codeName: 'UNAVAILABLE', reason: 'draining', reachedServer: 'no' });
  });
});

describe('a wait for a free stream', () => {
  it('emits one event when calls wait for a stream at the maximum number of connections, and one when the wait ends', async () => {
    const { client, echo, feeds, events } = await fillConnection({});
    const calls = [toList(echo.unary({})), toList(echo.unary({}))];
    await waitFor(() => client.snapshot().waitingForStream === 2);
    await waitFor(() => events.some(({ type }) => type === 'stream-limit'));
    feeds.subscriptions[0]!.unsubscribe();
    await Promise.all(calls);
    const reported = events.filter(({ type }) => type === 'stream-limit');
    expect(reported).toMatchObject([
      { phase: 'begin', connections: 1, limit: 2, maxConnectionsPerSubchannel: 1, opensConnection: false },
      { phase: 'end' },
    ]);
  });

  it('starts all calls immediately if the server sets no stream limit', async () => {
    const { server, client } = await scene();
    server.script('ServerStream', FEED);
    const feeds = openFeeds(client, 150);
    await waitFor(() => feeds.opened === 150);
    expect(server.connections.accepted).toBe(1);
    expect(client.snapshot().connections).toMatchObject([{ streams: { open: 150 } }]);
    expect(client.snapshot().connections[0]?.streams).not.toHaveProperty('limit');
  });
});

describe('additional connections', () => {
  it('makes calls on new connections after GOAWAY on all existing ones, without repeating a write', async () => {
    const { client, server, echo, feeds } = await fillConnection({ serviceConfig: scaled(2) });
    const more = openFeeds(client, 1);
    await waitFor(() => more.opened === 1);
    server.drainConnections(60_000);
    await waitFor(() => client.snapshot().connections[0]!.ended === 1);
    await Promise.all(Array.from({ length: 20 }, () => toList(echo.unsafeUnary({}))));
    expect(server.counts('UnsafeUnary').calls).toBe(20);
    expect(server.connections.accepted).toBeGreaterThan(2);
    expect([...feeds.failed, ...more.failed]).toEqual([]);
  });
});
