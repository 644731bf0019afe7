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
// The last one is run first.
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

/** The module of the page, where Node can run it. */
function writeApplication(): string {
  const folder = mkdtempSync(join(tmpdir(), 'xds-'));
  const options = { target: 9, module: 99, experimentalDecorators: true, emitDecoratorMetadata: true };
  writeFileSync(join(folder, 'orders.module.js'), transpile(shown('xds', 'orders.module.ts'), options));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  copyFileSync(ORDERS_PROTO, join(folder, 'orders.proto'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** Asks the gateway. */
async function told(path: string): Promise<unknown> {
  return (await fetch(`http://${gateway.url}/${path}`)).json();
}

const get = () => told('orders/7');

/** Calls one after the other until `item` answers; no call may fail on the way. */
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

describe('a client of xds:///orders', () => {
  it('calls where the control plane says, and is up', async () => {
    expect(await get()).toMatchObject({ item: 'one' });
    expect(controlPlane.refused).toEqual([]);
    expect(await told('health')).toMatchObject({ orders: { status: 'up', state: 'READY', target: 'xds:///orders' } });
  });

  it('goes where the service goes, and no call fails', async () => {
    controlPlane.publish({ ports: [two.port] });
    await callUntil('two');
    controlPlane.publish({ ports: [one.port, two.port] });
    await callUntil('one');
    await callUntil('two');
  });

  it('goes on with one server when another is lost, and with none waits until one is back', async () => {
    await one.stop('kill-connections');
    expect(await get()).toMatchObject({ item: 'two' });
    expect(await told('health')).toMatchObject({ orders: { status: 'up' } });

    await two.stop('kill-connections');
    const waiting = get();
    await waitFor(async () => {
      const { orders } = (await told('health')) as { readonly orders: { readonly message?: string } };
      return orders.message === 'outage; calls wait';
    });
    await two.restart();
    expect(await waiting).toMatchObject({ item: 'two' });
    expect(await told('health')).toMatchObject({ orders: { status: 'up', state: 'READY' } });
    await one.restart();
  });

  it('makes its own attempts and none of the control plane', async () => {
    controlPlane.publish({ ports: [two.port] });
    await callUntil('two');
    controlPlane.publish({ ports: [one.port], retries: 1 });
    // The routes with the retries are in force.
    await callUntil('one');
    one.script('Get', { status: 'UNAVAILABLE' });
    const before = one.counts('Get').calls;
    expect(await get()).toMatchObject({ codeName: 'UNAVAILABLE', reachedServer: 'yes' });
    expect(one.counts('Get').calls - before).toBe(4);
    controlPlane.publish({ ports: [two.port] });
    await callUntil('two');
  });

  it('resends a call that a GOAWAY rejected, whatever its method', async () => {
    const proxy = await Http2FaultProxy.start(one.url);
    onTestFinished(() => proxy.close());
    one.script('Create', { message: { item: 'created' } });
    controlPlane.publish({ ports: [proxy.port] });
    await callUntil('one');
    proxy.failCalls({ kind: 'goaway' });
    expect(await told('create')).toMatchObject({ item: 'created' });
    expect(proxy.counters).toMatchObject({ failed: 1 });
    expect(one.counts('Create').calls).toBe(1);
    controlPlane.publish({ ports: [two.port] });
    await callUntil('two');
  });

  it('keeps what it knows when the control plane is away, and ends with its application', async () => {
    controlPlane.close();
    expect(await get()).toMatchObject({ item: 'two' });
    await gateway.terminate();
    expect(gateway.output.join('\n')).toMatch(/drained 1 client in \d+ ms: 0 calls finished/);
  });
});

it('the line on the page tells what is wrong with a bootstrap', () => {
  const tell = (bootstrap: string) =>
    spawnSync('sh', ['-c', shown('xds', 'sh')], {
      cwd: application,
      env: { ...process.env, GRPC_XDS_BOOTSTRAP_CONFIG: bootstrap },
      encoding: 'utf8',
    });
  expect(tell(shown('xds', 'json')).status).toBe(0);
  expect(tell(shown('xds', 'json', { ', "locality": {}': '' })).stderr).toContain('locality field missing in node');
});
