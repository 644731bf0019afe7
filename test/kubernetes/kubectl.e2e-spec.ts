import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { skipWithout } from '../support/programs.js';
import { ApiServerStub } from './api-server-stub.js';

const run = promisify(execFile);

// Runs the reference client, kubectl, to check that the stub that the other tests use behaves like an API server.
describe('API server stub', () => {
  beforeEach(({ skip }) => {
    skip(...skipWithout('kubectl'));
  });

  async function startStub(): Promise<{ readonly api: ApiServerStub; readonly args: readonly string[] }> {
    const api = await ApiServerStub.start();
    onTestFinished(() => api.close());
    return { api, args: [`--kubeconfig=${api.kubeconfig}`, `--cache-dir=${api.kubeconfig}-cache`] };
  }

  it('serves a list of EndpointSlices from the API server stub to kubectl', async () => {
    const { api, args } = await startStub();
    api.set({ name: 'a', port: 50_051 });
    const { stdout } = await run('kubectl', [...args, 'get', 'endpointslices', '-o', 'name']);
    expect(stdout.trim().split('\n')).toEqual(['endpointslice.discovery.k8s.io/orders-a']);
  });

  it('sends each change from the API server stub to kubectl get endpointslices -w', async () => {
    const { api, args } = await startStub();
    api.set({ name: 'a', port: 50_051 });
    const kubectl = spawn('kubectl', [...args, 'get', 'endpointslices', '-w', '-o', 'name', '--output-watch-events']);
    const exited = once(kubectl, 'exit');
    onTestFinished(async () => {
      kubectl.kill();
      await exited;
    });
    let printed = '';
    let errors = '';
    kubectl.stdout.on('data', (text: Buffer) => (printed += text.toString()));
    kubectl.stderr.on('data', (text: Buffer) => (errors += text.toString()));
    const prints = (text: string) =>
      waitFor(() => printed.includes(text), { timeoutMs: 30_000, describe: () => `'${text}' in: ${printed}${errors}` });
    await prints('orders-a');
    await waitFor(() => api.openWatches === 1, { timeoutMs: 30_000 });
    api.set({ name: 'b', port: 50_052 });
    await prints('orders-b');
    api.remove('b');
    await waitFor(() => printed.split('orders-b').length === 3, { timeoutMs: 30_000 });
    expect(errors).toBe('');
  });

  it('rejects a kubectl request to the API server stub with the error message of a real API server if the account lacks the permission', async () => {
    const { api, args } = await startStub();
    api.fault = 'forbidden';
    await expect(run('kubectl', [...args, 'get', 'endpointslices'])).rejects.toThrow(
      'Error from server (Forbidden): endpointslices.discovery.k8s.io is forbidden: User "system:serviceaccount:shop:gateway" cannot list',
    );
  });
});
