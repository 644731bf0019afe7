import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { Test } from '@nestjs/testing';
import { ResilientGrpcModule, getGrpcServiceToken, type Resilient } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks, failOnLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { describe, expect, it, vi } from 'vitest';
import type { OrdersClient } from '../../src/gen/orders.pb.js';

const PROTO = join(import.meta.dirname, '../../protos/orders.proto');
const HERE = 'leaks\\.e2e-spec\\.ts:\\d+';

/** What a check says of what is open now. */
async function told(leaks: ReturnType<typeof captureLeaks>): Promise<string> {
  return leaks.settled({ timeoutMs: 20 }).then(
    () => 'nothing',
    (error: unknown) => (error as Error).message,
  );
}

describe('captureLeaks', () => {
  it('names the call that was left open, and the client that was not closed', async () => {
    const leaks = captureLeaks();
    const server = await ScriptedGrpcServer.start({ protoPath: PROTO, scripts: { Watch: { never: true } } });
    const feature = ResilientGrpcModule.forFeature([{ name: 'orders', url: server.url, protoPath: PROTO }]);
    const app = await Test.createTestingModule({ imports: [feature] }).compile();
    const token = getGrpcServiceToken('orders', 'Orders');
    const left = app
      .get<Resilient<OrdersClient>>(token, { strict: false })
      .watch({ from: '0' })
      .subscribe({ error: () => undefined });
    await waitFor(() => server.counts('Watch').calls === 1);
    const message = await told(leaks);
    expect(message).toContain("call /orders.v1.Orders/Watch of client 'orders': still open, 0 messages received");
    expect(message).toContain(`client 'orders' (${server.url}) was not closed: await app.close()`);
    expect(message).toContain(`→ 127.0.0.1:${server.url.split(':')[1]!}`);
    left.unsubscribe();
    await app.close();
    await server.close();
    await leaks.settled();
  });

  it('knows a call that was open before from one that began in the same millisecond, whatever the clock says', async () => {
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
    const left = watch();
    expect((await told(leaks)).match(/call \/orders/g)).toHaveLength(1);
    now.mockRestore();
    left.unsubscribe();
    await leaks.settled();
    before.unsubscribe();
    await app.close();
    await server.close();
  });

  it('is not cheated by a timer or a server that ends while another stays', async () => {
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
    const message = await told(leaks);
    expect(message).toContain('1 × listening server: 127.0.0.1:');
    expect(message).toContain('1 × timer');
    clearTimeout(timer);
    server.close();
    await leaks.settled();
  });

  it('says of a socket without a peer whether it was destroyed', async () => {
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
    await waitFor(async () => (await told(leaks)).includes(`1 × socket: ${port} → no peer any more, or none yet`));
    unread.accepted.destroy();
    await leaks.settled();

    // Node loses such a socket; by its handle it can be kept from keeping the process alive.
    const lost = await connected();
    const { _handle: handle } = lost.socket as unknown as { readonly _handle: { unref(): void } };
    lost.socket.on('error', () => undefined);
    lost.socket.end();
    lost.socket.resetAndDestroy();
    lost.accepted.destroy();
    await waitFor(async () => (await told(leaks)).includes('1 × socket: destroyed and not closed'));
    handle.unref();
    server.close();
    await leaks.settled();
  });

  it('names a child process by its pid and command', async () => {
    const leaks = captureLeaks();
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e3)'], { stdio: 'ignore' });
    await once(child, 'spawn');
    expect(await told(leaks)).toContain(`1 × child process: pid ${child.pid} (${process.execPath} -e setInterval`);
    child.kill('SIGKILL');
    await leaks.settled();
  });

  it('tells with a trace where each was made, also what a server accepted', async () => {
    const leaks = captureLeaks({ trace: true });
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const accepted = once(server, 'connection');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [other] = await accepted;
    const timer = setTimeout(() => undefined, 60_000);
    const message = await told(leaks);
    expect(message).toMatch(new RegExp(`1 × listening server: made at \\S*${HERE}`));
    expect(message).toMatch(new RegExp(`1 × timer: made at \\S*${HERE}`));
    expect(message).toMatch(
      new RegExp(`2 × socket: made at \\S*${HERE}, brought about by what was made at \\S*${HERE}`),
    );
    clearTimeout(timer);
    socket.destroy();
    other.destroy();
    server.close();
    await leaks.settled();
  });
});

describe('failOnLeaks', () => {
  it('fails in the hook behind a test that leaves something, and not behind one that does not', async () => {
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
