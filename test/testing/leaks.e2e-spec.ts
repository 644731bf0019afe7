import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { Test, type TestingModule } from '@nestjs/testing';
import { ResilientGrpcModule, getGrpcServiceToken, type Resilient } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks, failOnLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { describe, expect, it, vi } from 'vitest';
import type { OrdersClient } from '../../src/gen/orders.pb.js';

const PROTO = join(import.meta.dirname, '../../protos/orders.proto');
const HERE = 'leaks\\.e2e-spec\\.ts:\\d+';

/** Checks for leaks. Resolves to the message of the error, or to 'nothing' if there is no leak. */
async function reportOf(leaks: ReturnType<typeof captureLeaks>): Promise<string> {
  return leaks.settled({ timeoutMs: 20 }).then(
    () => 'nothing',
    (error: unknown) => (error as Error).message,
  );
}

describe('captureLeaks', () => {
  it('reports an open call, an unclosed client, and its socket as leaks', async () => {
    const leaks = captureLeaks();
    const server = await ScriptedGrpcServer.start({
      protoPath: PROTO,
      scripts: { Watch: { message: {}, never: true } },
    });
    const feature = ResilientGrpcModule.forFeature([{ name: 'orders', url: server.url, protoPath: PROTO }]);
    const app = await Test.createTestingModule({ imports: [feature] }).compile();
    const token = getGrpcServiceToken('orders', 'Orders');
    let received = 0;
    const open = app
      .get<Resilient<OrdersClient>>(token, { strict: false })
      .watch({ from: '0' })
      .subscribe({ next: () => (received += 1), error: () => undefined });
    await waitFor(() => received === 1);
    const message = await reportOf(leaks);
    expect(message).toContain("call /orders.v1.Orders/Watch of client 'orders' is still open, 1 message received");
    expect(message).toContain(`client 'orders' (${server.url}) was not closed; write await app.close()`);
    expect(message).toContain(`→ 127.0.0.1:${server.url.split(':')[1]!}`);
    open.unsubscribe();
    await app.close();
    await server.close();
    await leaks.settled();
  });

  it.each([
    ['starts to drain', false],
    ['waits for another shutdown hook', true],
  ])('reports that the client of a leaked call is closing if its application %s', async (_state, isHeld) => {
    const leaks = captureLeaks();
    const server = await ScriptedGrpcServer.start({ protoPath: PROTO, scripts: { Watch: { never: true } } });
    const feature = ResilientGrpcModule.forFeature([{ name: 'orders', url: server.url, protoPath: PROTO }]);
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const hook = { beforeApplicationShutdown: () => (isHeld ? held : undefined) };
    const providers = [{ provide: 'hook', useValue: hook }];
    const app = await Test.createTestingModule({ imports: [feature], providers }).compile();
    const token = getGrpcServiceToken('orders', 'Orders');
    const open = app
      .get<Resilient<OrdersClient>>(token, { strict: false })
      .watch({ from: '0' })
      .subscribe({ error: () => undefined });
    await waitFor(() => server.counts('Watch').open === 1);
    const closed = app.close();
    const message = await reportOf(leaks);
    expect(message).toContain("call /orders.v1.Orders/Watch of client 'orders' is still open, 0 messages received");
    expect(message).toContain(`client 'orders' (${server.url}) is closing\n`);
    open.unsubscribe();
    release();
    await closed;
    await server.close();
  });

  it('distinguishes a leaked call from an earlier open call that started in the same millisecond', async () => {
    const server = await ScriptedGrpcServer.start({ protoPath: PROTO, scripts: { Watch: { never: true } } });
    const feature = ResilientGrpcModule.forFeature([{ name: 'orders', url: server.url, protoPath: PROTO }]);
    const app = await Test.createTestingModule({ imports: [feature] }).compile();
    const orders = app.get<Resilient<OrdersClient>>(getGrpcServiceToken('orders', 'Orders'), { strict: false });
    const watch = () => orders.watch({ from: '0' }).subscribe({ error: () => undefined });
    const now = vi.spyOn(Date, 'now').mockReturnValue(Date.now());
    const before = watch();
    await waitFor(() => server.counts('Watch').calls === 1);
    const leaks = captureLeaks();
    await leaks.settled();
    const open = watch();
    expect((await reportOf(leaks)).match(/call \/orders/g)).toHaveLength(1);
    now.mockRestore();
    open.unsubscribe();
    await leaks.settled();
    before.unsubscribe();
    await app.close();
    await server.close();
  });

  it('reports a new timer or server as a leak even if an earlier timer or server ended', async () => {
    const old = createServer().listen(0, '127.0.0.1');
    await once(old, 'listening');
    const before = setTimeout(() => undefined, 60_000);
    const leaks = captureLeaks();
    const timer = setTimeout(() => undefined, 60_000);
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    clearTimeout(before);
    old.close();
    await once(old, 'close');
    const message = await reportOf(leaks);
    expect(message).toContain('1 × listening server: 127.0.0.1:');
    expect(message).toContain('1 × timer');
    clearTimeout(timer);
    server.close();
    await leaks.settled();
  });

  it('reports that a leaked socket has no peer, or that it is destroyed but not closed', async () => {
    const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const connected = async () => {
      const accepted = once(server, 'connection') as Promise<[Socket]>;
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      return { socket, accepted: (await accepted)[0] };
    };
    const leaks = captureLeaks();
    const unread = await connected();
    unread.socket.resetAndDestroy();
    await waitFor(async () =>
      (await reportOf(leaks)).includes(`1 × socket: ${port} → disconnected or not yet connected`),
    );
    unread.accepted.destroy();
    await leaks.settled();

    // Node never closes a socket that is reset in the same turn as end(); unref() on its handle lets the process exit.
    const lost = await connected();
    const { _handle: handle } = lost.socket as unknown as { readonly _handle: { unref(): void } };
    lost.socket.on('error', () => undefined);
    lost.socket.end();
    lost.socket.resetAndDestroy();
    lost.accepted.destroy();
    await waitFor(async () => (await reportOf(leaks)).includes('1 × socket: destroyed, but not closed'));
    handle.unref();
    server.close();
    await leaks.settled();
  });

  it('reports a leaked child process with its pid and command', async () => {
    const leaks = captureLeaks();
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e3)'], { stdio: 'ignore' });
    await once(child, 'spawn');
    expect(await reportOf(leaks)).toContain(`1 × child process: pid ${child.pid} (${process.execPath} -e setInterval`);
    child.kill('SIGKILL');
    await leaks.settled();
  });

  it('reports where each leaked resource, including an accepted socket, was created if trace is true', async () => {
    const leaks = captureLeaks({ trace: true });
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const accepted = once(server, 'connection');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [other] = await accepted;
    const timer = setTimeout(() => undefined, 60_000);
    const message = await reportOf(leaks);
    expect(message).toMatch(new RegExp(`1 × listening server: created at \\S*${HERE}`));
    expect(message).toMatch(new RegExp(`1 × timer: created at \\S*${HERE}`));
    expect(message).toMatch(
      new RegExp(`2 × socket: created at \\S*${HERE}, triggered by a resource created at \\S*${HERE}`),
    );
    clearTimeout(timer);
    socket.destroy();
    other.destroy();
    server.close();
    await leaks.settled();
  });
});

describe('failOnLeaks', () => {
  it('fails the hook after a test whose open call was cut off when the application closed', async () => {
    const hooks: (() => Promise<void>)[] = [];
    failOnLeaks(
      (run) => hooks.push(run),
      (run) => hooks.push(run),
    );
    const [before, after] = hooks;
    const server = await ScriptedGrpcServer.start({
      protoPath: PROTO,
      scripts: { Watch: { message: {}, never: true } },
    });
    const startApp = () =>
      Test.createTestingModule({
        imports: [
          ResilientGrpcModule.forRoot({ drain: { timeoutMs: 1 } }),
          ResilientGrpcModule.forFeature([{ name: 'orders', url: server.url, protoPath: PROTO }]),
        ],
      }).compile();
    const watch = async (app: TestingModule) => {
      let received = 0;
      const orders = app.get<Resilient<OrdersClient>>(getGrpcServiceToken('orders', 'Orders'), { strict: false });
      orders.watch({ from: '0' }).subscribe({ next: () => (received += 1), error: () => undefined });
      await waitFor(() => received === 1);
    };

    const shared = await startApp();
    await watch(shared);
    await before!();
    const app = await startApp();
    await watch(app);
    // The call of the other application was open before the check, so it is not a leak of this test.
    await Promise.all([app.close(), shared.close()]);
    await expect(after!()).rejects.toThrow(
      /^expected all calls to end before their client closes, got calls that the client cut off; unsubscribe in the test:\n {2}call \/orders\.v1\.Orders\/Watch of client 'orders' was cut off when the client closed, 1 message received, opened at .*leaks\.e2e-spec\.ts:\d+$/,
    );

    await before!();
    await (await startApp()).close();
    await after!();
    await server.close();
  });

  it('fails the hook after a test only if the test leaves a resource open', async () => {
    const hooks: (() => Promise<void>)[] = [];
    failOnLeaks(
      (run) => hooks.push(run),
      (run) => hooks.push(run),
      { timeoutMs: 30 },
    );
    const [before, after] = hooks;
    await before!();
    await after!();
    await before!();
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    await expect(after!()).rejects.toThrow('1 × listening server: 127.0.0.1:');
    server.close();
  });
});
