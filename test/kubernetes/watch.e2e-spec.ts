import { registerKubernetesResolver } from 'nestjs-resilient-grpc/kubernetes';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { callOnce, EACH_METHOD, failureOf, rejection, startClient } from '../calls/support.js';
import { callUntil, namesEqual, startApiServer, startPod, startPodClient, startPods } from './support.js';

describe('watch', () => {
  it('shares one list, and one watch that starts at the version of the list, among all clients of a Kubernetes service', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    const callers = [
      await startPodClient(),
      await startPodClient(),
      await startPodClient({ connections: { warm: true } }),
    ];
    for (const { call } of callers) expect(await call()).toBe('a');
    await waitFor(() => api.openWatches === 1);
    expect(api.requests).toEqual([
      { kind: 'list', resourceVersion: '0', token: 'token-of-gateway' },
      { kind: 'watch', resourceVersion: '101', token: 'token-of-gateway' },
    ]);
  });

  it('ends the Kubernetes watch when the last client is closed', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    const one = await startPodClient();
    const other = await startPodClient();
    await one.call();
    await other.call();
    await waitFor(() => api.openWatches === 1);
    await one.client.close();
    expect(await other.call()).toBe('a');
    expect(api.openWatches).toBe(1);
    await other.client.close();
    await waitFor(() => api.openWatches === 0);
  });

  it('fails no call of any kind while the API server is down, and uses new pods after the API server restarts', async () => {
    const api = await startApiServer();
    await startPods(api, 'a', 'b');
    const caller = await startPodClient();
    await callUntil(caller, namesEqual('a', 'b'));
    await waitFor(() => api.openWatches === 1);
    await api.kill();
    for (let i = 0; i < 10; i++)
      for (const method of EACH_METHOD) await lastValueFrom(callOnce(caller.echo, method).pipe(toArray()));
    await startPods(api, 'c');
    await api.start();
    await callUntil(caller, namesEqual('a', 'b', 'c'));
    expect(api.requests.filter(({ kind }) => kind === 'list')).toHaveLength(1);
  });

  it('resumes the Kubernetes watch from the last bookmark after the API server ends the watch', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    const caller = await startPodClient();
    await caller.call();
    await waitFor(() => api.openWatches === 1);
    const version = api.bookmark();
    const { name, server } = await startPod('b');
    // The event after the first bookmark shows that the first bookmark was received.
    api.set({ name, port: server.port });
    await callUntil(caller, namesEqual('a', 'b'));
    const bookmark = api.bookmark();
    expect(Number(bookmark)).toBeGreaterThan(Number(version));
    api.endWatches();
    await waitFor(() => api.requests.length === 3);
    expect(api.requests.at(-1)).toMatchObject({ kind: 'watch', resourceVersion: bookmark });
  });

  it('lists EndpointSlices again after 410 Gone if the version of a Kubernetes watch has expired', async () => {
    const api = await startApiServer();
    const [, b] = await startPods(api, 'a', 'b');
    const caller = await startPodClient();
    await callUntil(caller, namesEqual('a', 'b'));
    await waitFor(() => api.openWatches === 1);
    const third = await startPod('c');
    // The watch is closed while 'b' is removed and 'c' is added.
    await api.kill();
    api.remove('b');
    api.set({ name: 'c', port: third.server.port });
    api.compact();
    await api.start();
    await callUntil(caller, namesEqual('a', 'c'));
    expect(api.requests.filter(({ kind }) => kind === 'list')).toMatchObject([
      { resourceVersion: '0' },
      // This list requests no resource version, because the cache of the API server might be as outdated as the watch.
      { resourceVersion: null },
    ]);
    expect(b!.server.counts().open).toBe(0);
  });

  it('lists EndpointSlices again after an ERROR event of an open Kubernetes watch', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    const caller = await startPodClient();
    await caller.call();
    await waitFor(() => api.openWatches === 1);
    api.expireWatches();
    await waitFor(() => api.openWatches === 1 && api.requests.length === 4);
    await startPods(api, 'b');
    await callUntil(caller, namesEqual('a', 'b'));
    expect(api.requests.map(({ kind }) => kind)).toEqual(['list', 'watch', 'list', 'watch']);
    expect(api.requests[2]).toMatchObject({ resourceVersion: null });
  });

  it('increases the delay between Kubernetes watches if the API server ends each watch immediately', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    api.fault = 'short-watches';
    const { call } = await startPodClient();
    const startedAt = performance.now();
    await call();
    await waitFor(() => api.requests.length >= 4, { timeoutMs: 20_000 });
    // One list and three watches, with delays of at least 0.5 s and 1 s.
    expect(performance.now() - startedAt).toBeGreaterThan(1_400);
  });

  it('fails calls with an error that contains the command for the missing permission, and recovers after the permission is granted', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    api.fault = 'forbidden';
    const { echo, call } = await startPodClient({ outageGraceMs: 50 });
    const { message } = await failureOf(echo.unary({}));
    expect(message).toContain('403 endpointslices.discovery.k8s.io is forbidden');
    expect(message).toContain(
      'kubectl create role grpc-endpoints -n shop --verb=list,watch --resource=endpointslices.discovery.k8s.io',
    );
    expect(message).toContain('--serviceaccount=shop:gateway');
    api.fault = undefined;
    await waitFor(async () => (await call().catch(() => '')) === 'a', { timeoutMs: 20_000 });
  });

  it('keeps calls waiting until their deadline while the API server does not respond', async () => {
    const api = await startApiServer();
    api.fault = 'silent';
    const { echo } = await startPodClient();
    expect(await failureOf(echo.unary({}, { timeoutMs: 200 }))).toMatchObject({ reachedServer: 'no' });
    // Waits, because on a busy machine the deadline can pass before the request arrives.
    await waitFor(() => api.requests.length === 1);
  });

  it.each([
    ['refuses connections', undefined],
    ['does not permit the watch', 'forbidden'],
  ] as const)(
    'keeps calls waiting within the outage grace period if the API server %s at startup',
    async (_, fault) => {
      const api = await startApiServer();
      await startPods(api, 'a');
      api.fault = fault;
      if (fault === undefined) await api.kill();
      const { call, client } = await startPodClient({ outageGraceMs: 30_000 });
      const waiting = call();
      await waitFor(() => client.snapshot().resolution.failing);
      expect(client.snapshot()).toMatchObject({
        waiting: 1,
        resolution: { addresses: 0, watch: { state: 'failing' } },
      });
      expect(client.connectivity.lastError).toContain(`cannot watch EndpointSlices at ${api.url}: `);
      api.fault = undefined;
      if (fault === undefined) await api.start();
      expect(await waiting).toBe('a');
    },
  );

  it('reports a failing Kubernetes watch at most five times per second, to limit CPU time', async () => {
    const api = await startApiServer();
    await api.kill();
    const { client, echo } = await startPodClient({ outageGraceMs: 50 });
    const reportedAt: number[] = [];
    client.events$.subscribe((event) => {
      if (event.type === 'connection' && event.change === 'failed') reportedAt.push(event.at);
    });
    await failureOf(echo.unary({}));
    await waitFor(() => reportedAt.length >= 6, { timeoutMs: 20_000 });
    expect(reportedAt[5]! - reportedAt[0]!).toBeGreaterThan(1_000);
    await api.start();
  });

  it('shares the Kubernetes watch between registrations with the same configuration, and opens another one for a different configuration', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    const one = await startPodClient();
    await one.call();
    await waitFor(() => api.openWatches === 1);
    registerKubernetesResolver({ kubeconfig: api.kubeconfig });
    const other = await startPodClient();
    await other.call();
    registerKubernetesResolver({ kubeconfig: api.kubeconfigWithCertificate });
    expect(api.requests).toHaveLength(2);
    const third = await startPodClient();
    await third.call();
    await waitFor(() => api.openWatches === 2);
    expect(api.requests).toHaveLength(4);
  });

  it('uses the last endpoints if the API server is unreachable after the channel was idle', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    const { call, client } = await startPodClient({ connections: { idleMs: 1_000 } });
    await call();
    await waitFor(() => client.snapshot().connectivity.state === 'IDLE' && api.openWatches === 0, {
      timeoutMs: 20_000,
    });
    await api.kill();
    expect(await call()).toBe('a');
    await api.start();
  });
});

describe('registerKubernetesResolver', () => {
  it.each([
    [
      { kubeconfig: '/none' },
      /^registerKubernetesResolver\.kubeconfig: expected a readable kubeconfig, got an error: ENOENT/,
    ],
    [{ kubeconfigs: 'a' }, /^registerKubernetesResolver\.kubeconfigs: unknown option; did you mean 'kubeconfig'\?/],
  ])('rejects the Kubernetes resolver options %j', (options: object, message) => {
    expect(() => {
      registerKubernetesResolver(options);
    }).toThrow(message);
  });

  it.each([
    ['kubernetes://shop/orders:50051', "got 'shop' in the target; write 'kubernetes:///orders:50051'"],
    ['kubernetes:///Orders:50051', "expected a Kubernetes service, got 'Orders:50051'"],
    ['kubernetes:///orders:0', "expected a port from 1 to 65535, got '0'"],
  ])('rejects the target %s at startup', async (url, message) => {
    await startApiServer();
    expect(String(await rejection(startClient({ url })))).toContain(message);
  });
});
