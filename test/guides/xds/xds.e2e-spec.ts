import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChildServer, Http2FaultProxy, ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { transpile } from 'typescript';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { ROOT } from '../../docs/markdown.js';
import { ORDERS_PROTO } from '../../support/orders-app.js';
import { shown } from '../shown.js';
import { ControlPlane } from './control-plane.js';

const leaks = captureLeaks();
let application: string;
let one: ScriptedGrpcServer;
let two: ScriptedGrpcServer;
let controlPlane: ControlPlane;
let gateway: ChildServer;

beforeAll(async () => {
  application = writeApplication();
  one = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
  two = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
  controlPlane = await ControlPlane.start({ ports: [one.port] });
  gateway = await ChildServer.start({
    script: new URL('./gateway.mjs', import.meta.url),
    args: () => [join(application, 'orders.module.js')],
    env: { GRPC_XDS_BOOTSTRAP_CONFIG: controlPlane.bootstrap, NO_COLOR: '1' },
    readyTimeoutMs: 60_000,
  });
}, 90_000);
// Runs last, because Vitest runs afterAll hooks in reverse order.
afterAll(() => leaks.settled());
afterAll(async () => {
  await gateway.close();
  controlPlane.close();
  await Promise.all([one.close(), two.close()]);
  rmSync(application, { recursive: true });
});

beforeEach(() => {
  one.script('Get', { message: { item: 'one' } });
  two.script('Get', { message: { item: 'two' } });
});

/** Writes the guide's module to a folder where Node can run it. */
function writeApplication(): string {
  const folder = mkdtempSync(join(tmpdir(), 'xds-'));
  const options = { target: 9, module: 99, experimentalDecorators: true, emitDecoratorMetadata: true };
  writeFileSync(join(folder, 'orders.module.js'), transpile(shown('meshes-xds', 'orders.module.ts'), options));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  copyFileSync(ORDERS_PROTO, join(folder, 'orders.proto'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** Sends a request to the gateway and returns the response body. */
async function fetchJson(path: string): Promise<unknown> {
  return (await fetch(`http://${gateway.url}/${path}`)).json();
}

const get = () => fetchJson('orders/7');

/** Makes sequential calls until the server `item` responds. Every call must succeed. */
async function callUntil(item: string): Promise<void> {
  const answers: unknown[] = [];
  await waitFor(
    async () => {
      answers.push(await get());
      return (answers.at(-1) as { readonly item?: string }).item === item;
    },
    { timeoutMs: 20_000 },
  );
  expect(answers.filter((answer) => JSON.stringify(answer).includes('codeName'))).toEqual([]);
}

describe('client of xds:///orders', () => {
  it('calls the server that the xDS control plane publishes, and reports the client as up', async () => {
    expect(await get()).toMatchObject({ item: 'one' });
    expect(controlPlane.rejections).toEqual([]);
    expect(await fetchJson('health')).toMatchObject({
      orders: { status: 'up', state: 'READY', target: 'xds:///orders' },
    });
  });

  it('uses changed endpoints of an xDS target without failing a call', async () => {
    controlPlane.publish({ ports: [two.port] });
    await callUntil('two');
    controlPlane.publish({ ports: [one.port, two.port] });
    await callUntil('one');
    await callUntil('two');
  });

  it('uses the remaining server of an xDS target, and waits if no server is available', async () => {
    await one.stop('kill-connections');
    expect(await get()).toMatchObject({ item: 'two' });
    expect(await fetchJson('health')).toMatchObject({ orders: { status: 'up' } });

    await two.stop('kill-connections');
    const waiting = get();
    await waitFor(async () => {
      const { orders } = (await fetchJson('health')) as { readonly orders: { readonly message?: string } };
      return orders.message === 'outage; calls wait';
    });
    await two.restart();
    expect(await waiting).toMatchObject({ item: 'two' });
    expect(await fetchJson('health')).toMatchObject({ orders: { status: 'up', state: 'READY' } });
    await one.restart();
  });

  it('retries calls according to the retry policy of the client, not that of the xDS control plane', async () => {
    controlPlane.publish({ ports: [two.port] });
    await callUntil('two');
    controlPlane.publish({ ports: [one.port], retries: 1 });
    // Once this server responds, the routes with the retries are active.
    await callUntil('one');
    one.script('Get', { status: 'UNAVAILABLE' });
    const before = one.counts('Get').calls;
    expect(await get()).toMatchObject({ codeName: 'UNAVAILABLE', reachedServer: 'maybe' });
    expect(one.counts('Get').calls - before).toBe(4);
    controlPlane.publish({ ports: [two.port] });
    await callUntil('two');
  });

  it('retries only a safe call to an xDS target if a GOAWAY rejected it, because the transport of grpc-js shows no evidence', async () => {
    const proxy = await Http2FaultProxy.start(one.url);
    onTestFinished(() => proxy.close());
    controlPlane.publish({ ports: [proxy.port] });
    await callUntil('one');
    proxy.failCalls({ kind: 'goaway' });
    expect(await get()).toMatchObject({ item: 'one' });
    proxy.failCalls({ kind: 'goaway' });
    expect(await fetchJson('create')).toMatchObject({ codeName: 'UNAVAILABLE', reachedServer: 'maybe' });
    expect(proxy.counters).toMatchObject({ failed: 2 });
    expect(one.counts('Create').calls).toBe(0);
    controlPlane.publish({ ports: [two.port] });
    await callUntil('two');
  });

  it('keeps the last endpoints of an xDS target while the control plane is down, and closes the client when the application exits', async () => {
    controlPlane.close();
    expect(await get()).toMatchObject({ item: 'two' });
    await gateway.terminate();
    expect(gateway.output.join('\n')).toMatch(
      /1 client drained [\d.]+ m?s after the shutdown started: 0 calls finished/,
    );
  });
});

it('detects an invalid xDS bootstrap with the command in docs/deploy/meshes-xds.md', () => {
  const check = (bootstrap: string) =>
    spawnSync('sh', ['-c', shown('meshes-xds', 'sh')], {
      cwd: application,
      env: { ...process.env, GRPC_XDS_BOOTSTRAP_CONFIG: bootstrap },
      encoding: 'utf8',
    });
  expect(check(shown('meshes-xds', 'json')).status).toBe(0);
  expect(check(shown('meshes-xds', 'json', { ', "locality": {}': '' })).stderr).toContain(
    'locality field missing in node',
  );
});
