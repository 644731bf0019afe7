import { describe, expect, it } from 'vitest';
import { doctor } from '../doctor/support.js';
import type { ApiServerStub } from './api-server-stub.js';
import { startApiServer, startPods, TARGET } from './support.js';

const diagnose = (api: ApiServerStub, target = TARGET) => doctor([target], { env: { KUBECONFIG: api.kubeconfig } });

describe('doctor for a kubernetes target', () => {
  it('reports what the watch sees, and checks each pod', async () => {
    const api = await startApiServer();
    await startPods(api, 'a', 'b');
    api.set({ name: 'c', port: 50_051, ready: false });
    const { of, checks } = await diagnose(api);
    expect(of('kubernetes')).toMatchObject({
      status: 'ok',
      message: `service orders in namespace shop: 2 ready, 1 not ready, 0 terminating; 3 EndpointSlices at ${api.url}`,
      facts: { server: api.url, namespace: 'shop', ready: 2, notReady: 1, terminating: 0, slices: 3 },
    });
    expect(of('target')).toMatchObject({ status: 'ok', facts: { total: 2 } });
    expect(checks.filter(({ check }) => check === 'address')).toMatchObject([{ status: 'ok' }, { status: 'ok' }]);
    expect(of('client')).toMatchObject({ status: 'ok' });
  });

  it('prints the manifest that permits the watch if the account lacks the permission', async () => {
    const api = await startApiServer();
    api.fault = 'forbidden';
    const { code, of } = await diagnose(api);
    expect(code).toBe(1);
    expect(of('kubernetes')).toMatchObject({
      status: 'failed',
      message: expect.stringContaining('403 endpointslices.discovery.k8s.io is forbidden'),
      remedy: expect.stringMatching(/^permit it: echo '\{.*"kind":"RoleBinding".*\}' \| kubectl apply -f -$/),
    });
  });

  it.each([
    ['kubernetes:///orders:80', 'expected port 80 of its pods, got 50051 (grpc)', 'write the number or the name'],
    ['kubernetes:///carts:grpc', 'has no EndpointSlices', 'kubectl -n shop get service carts'],
    ['kubernetes:///Orders', "expected a Kubernetes service, got 'Orders'", ''],
  ])('reports what is wrong with the target %s', async (target, message, remedy) => {
    const api = await startApiServer();
    api.set({ name: 'a', port: 50_051 });
    const { of } = await diagnose(api, target);
    expect(of('kubernetes')).toMatchObject({
      status: 'failed',
      message: expect.stringContaining(message),
      remedy: expect.stringContaining(remedy),
    });
  });

  it('reports an API server that is unreachable', async () => {
    const api = await startApiServer();
    await api.kill();
    const { of } = await diagnose(api);
    expect(of('kubernetes')).toMatchObject({
      status: 'failed',
      message: expect.stringContaining(`cannot watch EndpointSlices at ${api.url}: connect ECONNREFUSED`),
    });
    await api.start();
  });
});
