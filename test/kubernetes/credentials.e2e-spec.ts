import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { registerKubernetesResolver } from 'nestjs-resilient-grpc/kubernetes';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { failureOf } from '../calls/support.js';
import { skipWithout } from '../support/programs.js';
import { ECHO_PROTO } from '../testing/echo-client.js';
import { ApiServerStub } from './api-server-stub.js';
import { startApiServer, startPodClient, startPods, TARGET } from './support.js';

const PROGRAM = fileURLToPath(new URL('calling-on-demand.mjs', import.meta.url));
/** Links the folder $1 at the path of a pod's service account, and runs the remaining arguments as a command. */
const IN_POD =
  'mount -t tmpfs tmpfs /run && mkdir -p /run/secrets/kubernetes.io && ' +
  'ln -s "$1" /run/secrets/kubernetes.io/serviceaccount && shift && exec "$@"';

/**
 * Starts a process with the files and the environment of a pod. `call` makes a call in that process and returns the name of the pod
 * that served the call.
 */
function startInPod(api: ApiServerStub): { call(): Promise<string> } {
  const home = mkdtempSync(join(tmpdir(), 'home-'));
  const { KUBECONFIG: _, ...env } = process.env;
  const { hostname, port } = new URL(api.url);
  const isolate = ['--map-root-user', '--mount', 'sh', '-c', IN_POD, 'sh', api.writeServiceAccount()];
  const child = spawn('unshare', [...isolate, process.execPath, PROGRAM, ECHO_PROTO, TARGET], {
    env: { ...env, HOME: home, KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  onTestFinished(async () => {
    child.stdin.end();
    expect(await exited).toEqual([0, null]);
    rmSync(home, { recursive: true });
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async call() {
      child.stdin.write('\n');
      const { value, done } = await lines.next();
      if (done === true) throw new Error('the process has exited');
      return value;
    },
  };
}

describe('credentials of a kubernetes target', () => {
  it('uses the service account of a pod, and follows the rotation of its token', async ({ skip }) => {
    skip(...skipWithout('namespaces'));
    const api = await ApiServerStub.start();
    onTestFinished(() => api.close());
    await startPods(api, 'a');
    const { call } = startInPod(api);
    expect(await call()).toBe('a');
    await waitFor(() => api.openWatches === 1);
    const { token } = api;
    api.token = 'token-after-rotation';
    api.writeServiceAccount();
    api.endWatches();
    await waitFor(() => api.requests.length === 4, { timeoutMs: 20_000 });
    expect(api.requests.map(({ kind, token: used }) => [kind, used])).toEqual([
      ['list', token],
      ['watch', token],
      // The stub rejects this request with 401, because the client library keeps the old token for a minute.
      ['watch', token],
      ['watch', api.token],
    ]);
    await startPods(api, 'b');
    await waitFor(async () => (await call()) === 'b');
  });

  it('uses the client certificate of a kubeconfig', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    registerKubernetesResolver({ kubeconfig: api.kubeconfigWithCertificate });
    const { call } = await startPodClient();
    expect(await call()).toBe('a');
    await waitFor(() => api.openWatches === 1);
    expect(api.requests.map(({ token }) => token)).toEqual([undefined, undefined]);
  });

  it("fails calls with an error that contains the API server's status 401 until the kubeconfig contains a valid token", async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    api.token = 'another-token';
    const { call, echo } = await startPodClient({ outageGraceMs: 50 });
    expect((await failureOf(echo.unary({}))).message).toContain(
      `cannot watch EndpointSlices at ${api.url}: 401 Unauthorized`,
    );
    api.writeKubeconfig();
    await waitFor(async () => (await call().catch(() => '')) === 'a', { timeoutMs: 20_000 });
  });
});
