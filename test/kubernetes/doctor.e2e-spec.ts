import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { codeBlocks, ROOT } from '../docs/markdown.js';
import { command, doctor } from '../doctor/support.js';
import type { ApiServerStub } from './api-server-stub.js';
import { startApiServer, startPods, TARGET } from './support.js';

/** A line of the output without the values that differ between runs. */
const shape = (line: string): string =>
  line
    .replace(/ in \d+ ms/, '')
    .replace(/https:\S+/, 'SERVER')
    .replace(/\d+ EndpointSlices?/, 'SLICES')
    .replace(/\d+ addresses?: .*/, 'ADDRESSES')
    .replace(/\d+ (ready|not ready|terminating)/g, 'N $1');

const diagnose = (api: ApiServerStub, target = TARGET) => doctor([target], { env: { KUBECONFIG: api.kubeconfig } });

describe('doctor for a kubernetes target', () => {
  it("counts the pods by condition in the doctor's kubernetes check, and checks the address of each ready pod", async () => {
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
    // Compares the output of the command with docs/deploy/kubernetes-resolver.md.
    const { stdout } = await command(['doctor', TARGET], { env: { KUBECONFIG: api.kubeconfig } });
    const page = codeBlocks('docs/deploy/kubernetes-resolver.md').find(({ text }) => text.startsWith('$ npx'))!;
    const documented = page.text.trim().split('\n').slice(1);
    expect(stdout.split('\n').slice(0, documented.length).map(shape)).toEqual(documented.map(shape));
  });

  it("reports a missing permission in the doctor's kubernetes check, with the manifest that permits the Kubernetes watch", async () => {
    const api = await startApiServer();
    api.fault = 'forbidden';
    const { code, of } = await diagnose(api);
    expect(code).toBe(1);
    expect(of('kubernetes')).toMatchObject({
      status: 'failed',
      message: expect.stringContaining('403 endpointslices.discovery.k8s.io is forbidden'),
      remedy: expect.stringMatching(
        /^grant the permission: kubectl create role .* && kubectl create rolebinding .* --serviceaccount=shop:gateway$/,
      ),
    });
  });

  it('prints the command for a missing permission in full in the doctor output, so that it can be pasted', async () => {
    const api = await startApiServer();
    api.fault = 'forbidden';
    const { stdout } = await command(['doctor', TARGET], { env: { KUBECONFIG: api.kubeconfig } });
    expect(stdout).toMatch(/^ +-> grant the permission: kubectl create role .* --serviceaccount=shop:gateway$/m);
  });

  it("fails the doctor's kubernetes check with the install command as the remedy if the Kubernetes client library is missing", async () => {
    const folder = mkdtempSync(join(tmpdir(), 'without-kubernetes-'));
    onTestFinished(() => {
      rmSync(folder, { recursive: true });
    });
    const modules = join(ROOT, 'node_modules');
    mkdirSync(join(folder, 'node_modules'));
    for (const name of readdirSync(modules).filter((name) => !['@kubernetes', '.bin'].includes(name)))
      symlinkSync(join(modules, name), join(folder, 'node_modules', name));
    const bin = join(folder, 'node_modules/nestjs-resilient-grpc/bin/nestjs-resilient-grpc.js');
    // With these options, Node resolves imports from the paths of the links, so it does not find the library's own dependencies.
    const links = ['--preserve-symlinks', '--preserve-symlinks-main'];
    const run = promisify(execFile)(process.execPath, [...links, bin, 'doctor', TARGET], { cwd: folder });
    await expect(run).rejects.toMatchObject({
      code: 1,
      stdout: expect.stringMatching(
        /FAIL {2}kubernetes +@kubernetes\/client-node cannot be loaded: Cannot find package '@kubernetes\/client-node'.*\n +-> install the client library in the application: npm i @kubernetes\/client-node; before Node 22\.19, npm i @kubernetes\/client-node@1\n/,
      ),
    });
  });

  it("fails the doctor's kubernetes check if the API server rejects the credentials or the Kubernetes configuration is missing", async () => {
    const api = await startApiServer();
    const { kubeconfig } = api;
    api.token = 'another-token';
    const { of } = await doctor([TARGET], { env: { KUBECONFIG: kubeconfig } });
    expect(of('kubernetes')).toMatchObject({
      status: 'failed',
      message: `cannot watch EndpointSlices at ${api.url}: 401 Unauthorized`,
      remedy: expect.stringContaining('credentials'),
    });
    const without = await doctor([TARGET], { env: { KUBECONFIG: '', HOME: '/nonexistent' } });
    expect(without.of('kubernetes')).toMatchObject({
      status: 'failed',
      message: expect.stringContaining(
        'expected a Kubernetes configuration with a current context, got none; run in a pod',
      ),
    });
  });

  it.each([
    ['kubernetes:///orders:80', 'expected port 80, got 50051 (grpc)', 'write one of these numbers or names'],
    ['kubernetes:///carts:grpc', 'has no EndpointSlices', 'kubectl -n shop get service carts'],
    ['kubernetes:///Orders', "expected a Kubernetes service, got 'Orders'", ''],
  ])(
    "reports the error in the target %s and its remedy in the doctor's kubernetes check",
    async (target, message, remedy) => {
      const api = await startApiServer();
      api.set({ name: 'a', port: 50_051 });
      const { of } = await diagnose(api, target);
      expect(of('kubernetes')).toMatchObject({
        status: 'failed',
        message: expect.stringContaining(message),
        remedy: expect.stringContaining(remedy),
      });
    },
  );

  it('applies --timeout of the doctor to the requests to the API server', async () => {
    const api = await startApiServer();
    api.fault = 'silent';
    const { of } = await doctor([TARGET, '--timeout', '0.5s'], { env: { KUBECONFIG: api.kubeconfig } });
    expect(of('kubernetes')).toMatchObject({
      status: 'failed',
      message: expect.stringMatching(/: no response within \d+ ms$/),
    });
  });

  it("fails the doctor's kubernetes check if the API server is unreachable", async () => {
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
