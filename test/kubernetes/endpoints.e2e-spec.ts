import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { EndpointSlice } from 'kubernetes-types/discovery/v1.d.ts';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, Subject, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { callOnce, EACH_METHOD, failureOf, upTo } from '../calls/support.js';
import { recordTiming } from '../support/timing.js';
import { callUntil, namesEqual, startApiServer, startPod, startPodClient, startPods } from './support.js';

describe('kubernetes target', () => {
  it('sends calls of all kinds directly on the connections to all ready pods', async () => {
    const api = await startApiServer();
    const pods = await startPods(api, 'a', 'b');
    const { client, echo } = await startPodClient();
    for (const method of EACH_METHOD)
      for (let i = 0; i < 4; i++) await lastValueFrom(callOnce(echo, method).pipe(toArray()));
    for (const { server } of pods) expect(server.counts().calls).toBeGreaterThanOrEqual(8);
    expect(client.snapshot().transport).toBe('socket');
    expect(client.snapshot().connections).toHaveLength(2);
  });

  it('sends calls to a new pod and keeps the existing connections', { tags: ['timed'] }, async ({ task }) => {
    const api = await startApiServer();
    const pods = await startPods(api, 'a', 'b');
    const caller = await startPodClient();
    await callUntil(caller, namesEqual('a', 'b'));
    const third = await startPod('c');
    const sockets = pods.map(({ server }) => server.connections);
    const startedAt = performance.now();
    api.set({ name: 'c', port: third.server.port });
    await callUntil(caller, namesEqual('a', 'b', 'c'));
    recordTiming(task, 'time until a new pod receives a call, ms', performance.now() - startedAt, {
      atMost: 2_000,
    });
    expect(pods.map(({ server }) => server.connections)).toEqual(sockets);
  });

  it('sends no calls to a pod while the pod is not ready', async () => {
    const api = await startApiServer();
    const [a, b] = await startPods(api, 'a', 'b');
    const caller = await startPodClient();
    await callUntil(caller, namesEqual('a', 'b'));
    api.set({ name: 'b', port: b!.server.port, ready: false });
    await callUntil(caller, namesEqual('a'));
    api.set({ name: 'b', port: b!.server.port });
    await callUntil(caller, namesEqual('a', 'b'));
    expect(a!.server.counts().calls).toBeGreaterThan(b!.server.counts().calls);
  });

  it('sends no new calls to a terminating pod, while its open calls finish', async () => {
    const api = await startApiServer();
    const [a, b] = await startPods(api, 'a', 'b');
    const caller = await startPodClient();
    await callUntil(caller, namesEqual('a', 'b'));
    const requests = new Subject<{ text: string }>();
    // Two feeds, so that each pod has one.
    const feeds = [1, 2].map(() => lastValueFrom(caller.echo.bidi(requests).pipe(toArray())));
    await waitFor(() => a!.server.counts().open === 1 && b!.server.counts().open === 1);
    api.set({ name: 'b', port: b!.server.port, terminating: true, serving: true });
    await callUntil(caller, namesEqual('a'));
    requests.next({ text: 'late' });
    requests.complete();
    for (const feed of feeds) expect((await feed).map(({ text }) => text)).toEqual(['late']);
  });

  it('sends calls to a terminating pod if no pod is ready', async () => {
    const api = await startApiServer();
    const [a] = await startPods(api, 'a');
    const { call } = await startPodClient();
    await call();
    api.set({ name: 'a', port: a!.server.port, terminating: true, serving: true });
    for (let i = 0; i < 20; i++) expect(await call()).toBe('a');
  });

  it('fails calls with an error that describes the pods while no pod is ready', async () => {
    const api = await startApiServer();
    const { name, server } = await startPod('a');
    api.set({ name, port: server.port, ready: false });
    const { echo, call } = await startPodClient({ outageGraceMs: 50 });
    const error = await failureOf(echo.unary({}));
    expect(error.message).toContain('service orders in namespace shop has no ready pods (1 not ready, 0 terminating)');
    expect(error).toMatchObject({ codeName: 'UNAVAILABLE', reachedServer: 'no' });
    api.set({ name, port: server.port });
    await waitFor(async () => (await call().catch(() => '')) === 'a');
  });

  it.each([
    ['kubernetes:///missing', 'service missing in namespace shop has no EndpointSlices'],
    ['kubernetes:///orders.other:grpc', 'service orders in namespace other has no EndpointSlices'],
    ['kubernetes:///orders:80', 'expected port 80, got 50051 (grpc)'],
    ['kubernetes:///orders:http', 'expected port http, got 50051 (grpc)'],
  ])('fails calls to %s with an error message that states the cause', async (url, reason) => {
    const api = await startApiServer();
    api.set({ name: 'a', port: 50_051 });
    const { echo } = await startPodClient({ url, outageGraceMs: 50 });
    expect((await failureOf(echo.unary({}))).message).toContain(reason);
  });

  it('uses pick_first for a kubernetes target if loadBalancing is pick_first', async () => {
    const api = await startApiServer();
    await startPods(api, 'a', 'b');
    const caller = await startPodClient({ loadBalancing: 'pick_first' });
    expect(await callUntil(caller, () => true)).toHaveLength(1);
  });

  it('reads a response stream to its end after its pod is removed', async () => {
    const api = await startApiServer();
    const [, b] = await startPods(api, 'a', 'b');
    const caller = await startPodClient();
    await callUntil(caller, namesEqual('a', 'b'));
    b!.server.script('ServerStream', { messages: upTo(2), intervalMs: 50 });
    const streams = [1, 2].map(() => lastValueFrom(caller.echo.serverStream({ number: 2 }).pipe(toArray())));
    api.remove('b');
    for (const stream of streams) expect(await stream).toHaveLength(2);
    await callUntil(caller, namesEqual('a'));
  });

  it('fails no call of any kind while each pod is replaced in turn', async () => {
    const api = await startApiServer();
    const pods = await startPods(api, 'a1', 'b1', 'c1');
    const { echo } = await startPodClient();
    let isOver = false;
    const callers = EACH_METHOD.map(async (method) => {
      while (!isOver) await lastValueFrom(callOnce(echo, method).pipe(toArray()));
    });
    for (const old of pods) {
      const [replacement] = await startPods(api, old.name.replace('1', '2'));
      await waitFor(() => replacement!.server.counts().calls > 10, { timeoutMs: 20_000 });
      api.set({ name: old.name, port: old.server.port, terminating: true, serving: true });
      // Kubernetes sends SIGTERM at the same time as this update, so calls still arrive at the pod.
      await old.server.stop('graceful');
      api.remove(old.name);
    }
    isOver = true;
    await Promise.all(callers);
  });
});

/** Listens on [::1]:`port` and forwards each connection to the same port on 127.0.0.1. */
async function listenOnIPv6(port: number): Promise<void> {
  const sockets = new Set<Socket>();
  const relay = createServer((client) => {
    const server = connect(port, '127.0.0.1');
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
    client.pipe(server).pipe(client);
  });
  relay.listen(port, '::1');
  await once(relay, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    relay.close();
  });
}

/** An EndpointSlice of the service `orders` as the stub stores it. */
const slice = (name: string, fields: Pick<EndpointSlice, 'addressType' | 'endpoints' | 'ports'>): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name, namespace: 'shop', labels: { 'kubernetes.io/service-name': 'orders' } },
  ...fields,
});

describe('EndpointSlices of a service', () => {
  it('merges endpoints of several EndpointSlices and address families, including endpoints without a pod or conditions', async () => {
    const api = await startApiServer();
    const dualStack = await startPod('a');
    await listenOnIPv6(dualStack.server.port);
    const other = await startPod('b');
    const ports = [
      { name: 'http', port: 80 },
      { name: 'grpc', port: dualStack.server.port },
    ];
    const targetRef = { kind: 'Pod', name: 'a', uid: 'uid-a' };
    const conditions = { ready: true };
    api.put(
      slice('v4', { addressType: 'IPv4', ports, endpoints: [{ addresses: ['127.0.0.1'], conditions, targetRef }] }),
    );
    // Repeats the pod, because Kubernetes moves endpoints between slices, and both slices can briefly contain the same endpoint.
    api.put(
      slice('moved', { addressType: 'IPv4', ports, endpoints: [{ addresses: ['127.0.0.1'], conditions, targetRef }] }),
    );
    api.put(slice('v6', { addressType: 'IPv6', ports, endpoints: [{ addresses: ['::1'], conditions, targetRef }] }));
    // This slice is like one that an administrator writes for a service without a selector.
    const own = [{ name: 'grpc', port: other.server.port }];
    api.put(slice('own', { addressType: 'IPv4', ports: own, endpoints: [{ addresses: ['127.0.0.1'] }] }));
    const caller = await startPodClient();
    await callUntil(caller, namesEqual('a', 'b'));
    expect(caller.client.snapshot().resolution).toMatchObject({
      addresses: 3,
      watch: { endpoints: { ready: 2, notReady: 0, terminating: 0 } },
    });
    const ready = caller.client.snapshot().connections.filter(({ state }) => state === 'READY');
    expect(ready).toHaveLength(2);
    const counts = [dualStack, other].map(({ server }) => server.counts().calls);
    // A pod with two addresses receives as many calls as a pod with one address.
    expect(Math.abs(counts[0]! - counts[1]!)).toBeLessThanOrEqual(3);
  });

  it('connects to pods that have only IPv6 addresses', async () => {
    const api = await startApiServer();
    const { server } = await startPod('a');
    await listenOnIPv6(server.port);
    const ports = [{ name: 'grpc', port: server.port }];
    api.put(slice('v6', { addressType: 'IPv6', ports, endpoints: [{ addresses: ['::1'] }] }));
    const { call } = await startPodClient({ url: `kubernetes:///orders:${String(server.port)}` });
    expect(await call()).toBe('a');
  });

  it('fails calls with the cause in the message after the Kubernetes service is deleted, and recovers after the service is recreated', async () => {
    const api = await startApiServer();
    await startPods(api, 'a', 'b');
    const caller = await startPodClient({ outageGraceMs: 50 });
    const events: string[] = [];
    caller.client.events$.subscribe(({ type }) => events.push(type));
    await callUntil(caller, namesEqual('a', 'b'));
    api.remove('a');
    api.remove('b');
    await waitFor(() => caller.client.snapshot().resolution.addresses === 0);
    const { message } = await failureOf(caller.echo.unary({}));
    expect(message).toContain('service orders in namespace shop has no EndpointSlices');
    expect(caller.client.snapshot().resolution).toMatchObject({ failing: true, watch: { state: 'watching' } });
    await startPods(api, 'c');
    await waitFor(async () => (await caller.call().catch(() => '')) === 'c');
    expect(caller.client.snapshot().resolution).toMatchObject({ addresses: 1, failing: false });
    // A lookup that returns no endpoints has not failed, so the channel does not keep its earlier addresses.
    expect(events).not.toContain('lookup-failed');
  });

  it('keeps calls waiting within the outage grace period while no pod is ready', async () => {
    const api = await startApiServer();
    const [a] = await startPods(api, 'a');
    const { call, client } = await startPodClient({ outageGraceMs: 20_000 });
    await call();
    api.set({ name: 'a', port: a!.server.port, ready: false });
    await waitFor(() => client.snapshot().resolution.addresses === 0);
    const waiting = call();
    await waitFor(() => client.snapshot().waiting === 1);
    api.set({ name: 'a', port: a!.server.port });
    expect(await waiting).toBe('a');
  });
});
