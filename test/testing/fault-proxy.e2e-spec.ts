import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { connectivityState, status } from '@grpc/grpc-js';
import { captureLeaks, FaultProxy, ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { rejection } from '../calls/support.js';
import { ECHO_PROTO, EchoClient } from './echo-client.js';

describe('FaultProxy', () => {
  let leaks: ReturnType<typeof captureLeaks>;
  let server: ScriptedGrpcServer;
  let proxy: FaultProxy;
  let client: EchoClient;
  let sockets: Socket[];

  beforeEach(async () => {
    leaks = captureLeaks();
    server = await ScriptedGrpcServer.start({
      protoPath: ECHO_PROTO,
      scripts: { Unary: (call) => ({ message: call.request }), UnsafeUnary: { hold: 'everything' } },
    });
    proxy = await FaultProxy.start(server.url);
    client = new EchoClient(proxy.url);
    sockets = [];
  });
  afterEach(async () => {
    client.close();
    for (const socket of sockets) socket.destroy();
    await proxy.close();
    await server.close();
    await leaks.settled();
  });

  const deadline = (ms: number) => ({ deadline: Date.now() + ms });
  const held = async () => {
    // Wraps the call, so that awaiting this function does not await the call.
    const answer = client.unary({ text: 'held' }, { method: 'UnsafeUnary' });
    await waitFor(() => server.heldCount() === 1);
    return { answer };
  };
  const rawSocket = (port = proxy.port) => {
    const socket = connect({ host: '127.0.0.1', port });
    const seen = { connected: false, ended: false, closed: false, bytes: 0, error: undefined as string | undefined };
    socket.on('connect', () => (seen.connected = true));
    socket.on('data', (data) => (seen.bytes += data.length));
    socket.on('end', () => (seen.ended = true));
    socket.on('error', (error: NodeJS.ErrnoException) => (seen.error = error.code));
    socket.on('close', () => (seen.closed = true));
    sockets.push(socket);
    return { socket, seen };
  };

  it('forwards traffic through a FaultProxy and counts connections and bytes', async () => {
    expect((await client.unary({ text: 'hello' })).value?.text).toBe('hello');
    expect(proxy.counters).toMatchObject({ accepted: 1, open: 1 });
    expect(proxy.counters.bytesToUpstream).toBeGreaterThan(50);
    expect(proxy.counters.bytesToClient).toBeGreaterThan(50);
    client.close();
    await waitFor(() => proxy.counters.open === 0);
    await waitFor(() => server.connections.open === 0);
  });

  it('forwards large messages completely through a FaultProxy', async () => {
    const payload = Buffer.alloc(3_000_000, 7);
    expect((await client.unary({ payload })).value?.payload.equals(payload)).toBe(true);
  });

  it('rejects forward() if refuse() stops the listener during its start', async () => {
    proxy.refuse();
    const started = rejection(proxy.forward());
    proxy.refuse();
    expect(String(await started)).toMatch(/the listener on 127\.0\.0\.1:\d+ was stopped while starting/);
  });

  it('refuses new connections and keeps existing ones after refuse(), and listens on the same port again after forward()', async () => {
    await client.unary({});
    const { port } = proxy;
    proxy.refuse();
    expect((await client.unary({ text: 'still there' })).value?.text).toBe('still there');
    const { seen } = rawSocket();
    await waitFor(() => seen.closed);
    expect(seen.error).toBe('ECONNREFUSED');
    proxy.resetAll();
    await waitFor(() => client.state === connectivityState.IDLE);
    expect((await client.unary({})).status.details).toContain('ECONNREFUSED');
    await proxy.forward();
    expect(proxy.port).toBe(port);
    await waitFor(async () => (await client.unary({})).error === undefined);
  });

  it('accepts connections without forwarding a byte after staySilent()', async () => {
    await proxy.staySilent();
    const { seen, socket } = rawSocket();
    await waitFor(() => seen.connected);
    socket.write('anything');
    const answer = await client.unary({}, deadline(200));
    await waitFor(() => proxy.counters.accepted === 2);
    expect(answer.status.code).toBe(status.DEADLINE_EXCEEDED);
    expect(client.state).toBe(connectivityState.CONNECTING);
    expect(proxy.counters).toMatchObject({ accepted: 2, open: 2, bytesToUpstream: 0, bytesToClient: 0 });
    expect(seen).toMatchObject({ connected: true, closed: false, bytes: 0 });
    expect(server.connections.accepted).toBe(0);
    await proxy.forward();
    expect(proxy.resetAll()).toBe(2);
    await waitFor(() => seen.closed);
    expect(seen.error).toBe('ECONNRESET');
  });

  it('removes all faults of a FaultProxy and resets silenced connections with heal()', async () => {
    proxy.delay(60_000);
    proxy.cutIdleAfter(10);
    proxy.closeAfterBytes(5, 'to-client');
    await proxy.staySilent();
    const { seen, socket } = rawSocket();
    await waitFor(() => seen.connected);
    expect(await proxy.heal()).toBe(1);
    await waitFor(() => seen.closed);
    expect(seen.error).toBe('ECONNRESET');
    socket.destroy();
    expect((await client.unary({ text: 'healed' })).value?.text).toBe('healed');
    proxy.holdBytes();
    const held = client.unary({ text: 'held' });
    proxy.refuse();
    // heal() resets silenced connections, not those whose bytes are held.
    expect(await proxy.heal()).toBe(0);
    expect((await held).value?.text).toBe('held');
    expect(proxy.counters).toMatchObject({ accepted: 2, open: 1 });
  });

  it('excludes the time of a blocked event loop from the idle time of a FaultProxy connection', async () => {
    proxy.cutIdleAfter(1_000, 'silent');
    const answer = client.unary({ text: 'late' }, deadline(20_000));
    await waitFor(() => proxy.counters.accepted === 1, { intervalMs: 1 });
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_200);
    expect((await answer).value?.text).toBe('late');
  });

  it('ends a call in flight with ECONNRESET after resetAll()', async () => {
    const { answer } = await held();
    expect(proxy.resetAll()).toBe(1);
    expect((await answer).status).toMatchObject({
      code: status.UNAVAILABLE,
      details: expect.stringContaining('ECONNRESET'),
    });
    await waitFor(() => server.counts().disconnected === 1);
    expect(client.state).toBe(connectivityState.IDLE);
  });

  it('ends a call in flight with "Connection dropped" after closeAll()', async () => {
    const { answer } = await held();
    expect(proxy.closeAll()).toBe(1);
    expect((await answer).status).toMatchObject({ code: status.UNAVAILABLE, details: 'Connection dropped' });
    await waitFor(() => server.counts().disconnected === 1);
    await waitFor(() => proxy.counters.open === 0);
  });

  it('holds bytes in both directions until releaseBytes(), while the connection stays READY', async () => {
    await client.unary({});
    proxy.holdBytes();
    const late = client.unary({ text: 'late' });
    expect((await client.unary({}, deadline(150))).status.code).toBe(status.DEADLINE_EXCEEDED);
    expect(client.state).toBe(connectivityState.READY);
    expect(server.counts('Unary').calls).toBe(1);
    proxy.releaseBytes();
    expect((await late).value?.text).toBe('late');
  });

  it("holds only responses after holdBytes('to-client'), so that the server receives the request", async () => {
    await client.unary({});
    proxy.holdBytes('to-client');
    const late = client.unary({ text: 'late' });
    await waitFor(() => server.counts('Unary').answered === 2);
    expect((await client.unary({}, deadline(100))).status.code).toBe(status.DEADLINE_EXCEEDED);
    proxy.releaseBytes('to-client');
    expect((await late).value?.text).toBe('late');
  });

  it('forwards the bytes of a new FaultProxy connection while those of existing connections are held', async () => {
    await client.unary({});
    proxy.holdBytes();
    const other = new EchoClient(proxy.url);
    expect((await other.unary({ text: 'new' })).value?.text).toBe('new');
    other.close();
  });

  it('reads only a limited number of bytes from a FaultProxy connection whose bytes are held', async () => {
    const { socket } = rawSocket();
    await waitFor(() => proxy.counters.open === 1);
    proxy.holdBytes('to-upstream');
    const before = proxy.counters.bytesToUpstream;
    const chunk = Buffer.alloc(1_000_000);
    for (let i = 0; i < 64; i += 1) socket.write(chunk);
    await client.unary({});
    expect(socket.writableLength).toBeGreaterThan(10_000_000);
    expect(proxy.counters.bytesToUpstream - before).toBeLessThan(10_000);
  });

  for (const [how, code] of [
    ['fin', undefined],
    ['rst', 'ECONNRESET'],
  ] as const) {
    it(`closes an idle FaultProxy connection with ${how}, so that the next call opens a new one`, async () => {
      const { seen } = rawSocket();
      await waitFor(() => seen.bytes > 0);
      await client.unary({});
      proxy.cutIdleAfter(100, how);
      await waitFor(() => proxy.counters.open === 0);
      await waitFor(() => client.state === connectivityState.IDLE && server.connections.open === 0);
      await waitFor(() => (how === 'fin' ? seen.ended : seen.closed));
      expect(seen.error).toBe(code);
      proxy.cutIdleAfter(undefined);
      expect((await client.unary({ text: 'again' })).value?.text).toBe('again');
    });
  }

  it('keeps a connection open while it has traffic, despite cutIdleAfter()', async () => {
    proxy.cutIdleAfter(1_000, 'rst');
    const endsAt = performance.now() + 1_500;
    while (performance.now() < endsAt) expect((await client.unary({})).error).toBeUndefined();
    expect(proxy.counters).toMatchObject({ accepted: 1, open: 1 });
  });

  it('drops an idle FaultProxy connection silently, so that its calls hang', async () => {
    await client.unary({});
    proxy.cutIdleAfter(50, 'silent');
    // Nothing reports the cut, so this waits for the first call that hangs.
    await waitFor(async () => (await client.unary({}, deadline(200))).status.code === status.DEADLINE_EXCEEDED, {
      intervalMs: 200,
    });
    expect(client.state).toBe(connectivityState.READY);
    expect(server.connections.open).toBe(1);
    const { calls } = server.counts('Unary');
    proxy.releaseBytes();
    expect((await client.unary({}, deadline(100))).status.code).toBe(status.DEADLINE_EXCEEDED);
    expect(server.counts('Unary').calls).toBe(calls);
    client.close();
    await waitFor(() => proxy.counters.open === 0);
  });

  it('delays bytes in each direction of a FaultProxy without reordering them, until the delay is 0', async () => {
    await client.unary({});
    proxy.delay(100);
    const startedAt = performance.now();
    const answers = Promise.all([1, 2, 3].map((number) => client.unary({ number })));
    await waitFor(() => server.counts('Unary').calls > 1, { intervalMs: 0 });
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(99);
    expect((await answers).map(({ value }) => value?.number)).toEqual([1, 2, 3]);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(198);
    proxy.delay(0);
    expect((await client.unary({})).error).toBeUndefined();
  });

  for (const how of ['fin', 'rst'] as const) {
    it(`closes one FaultProxy connection with ${how} after the given number of bytes, in the middle of a message`, async () => {
      await client.unary({});
      const before = proxy.counters.bytesToUpstream;
      proxy.closeAfterBytes(1_000, 'to-upstream', how);
      const cut = await client.unary({ payload: Buffer.alloc(5_000) });
      expect(cut.status.code).toBe(status.UNAVAILABLE);
      expect(proxy.counters.bytesToUpstream - before).toBe(1_000);
      expect(server.calls('Unary').at(-1)?.requests).toEqual([]);
      expect((await client.unary({ payload: Buffer.alloc(5_000) })).error).toBeUndefined();
    });
  }

  it('closes a FaultProxy connection in the middle of a response that the server has sent', async () => {
    await client.unary({});
    proxy.closeAfterBytes(1_000, 'to-client', 'rst');
    const cut = await client.unary({ payload: Buffer.alloc(100_000) });
    expect(cut.status.code).toBe(status.UNAVAILABLE);
    expect(server.counts('Unary').calls).toBe(2);
  });

  it('closes the given number of FaultProxy connections, each after the given number of bytes', async () => {
    proxy.closeAfterBytes(10, 'to-upstream', 'rst', 3);
    await waitFor(async () => (await client.unary({})).error === undefined);
    expect(proxy.counters.accepted).toBe(4);
  });

  it('closes the client connections of a FaultProxy when the upstream disconnects, and forwards to another upstream after retarget()', async () => {
    const other = await ScriptedGrpcServer.start({
      protoPath: ECHO_PROTO,
      scripts: { Unary: { message: { text: 'other' } } },
    });
    await client.unary({});
    await server.stop('kill-connections');
    await waitFor(() => client.state === connectivityState.IDLE);
    expect((await client.unary({})).status.code).toBe(status.UNAVAILABLE);
    proxy.retarget(other.url);
    await waitFor(async () => (await client.unary({})).value?.text === 'other');
    proxy.closeAll();
    await other.close();
  });

  it('releases a FaultProxy connection that is reset in the event-loop turn in which its end is forwarded', async () => {
    const { socket, seen } = rawSocket();
    await waitFor(() => proxy.counters.open === 1 && server.connections.open === 1);
    proxy.holdBytes();
    socket.end();
    await waitFor(() => proxy.counters.open === 0);
    proxy.releaseBytes();
    expect(proxy.resetAll()).toBe(1);
    await waitFor(() => seen.closed && server.connections.open === 0);
    await proxy.close();
    await server.close();
    await leaks.settled();
  });

  it.each(['forward', 'staySilent', 'heal'] as const)(
    'does not listen again if %s() is called on a closed FaultProxy',
    async (method) => {
      await proxy.close();
      await expect(proxy[method]()).rejects.toThrow('FaultProxy is closed; write await FaultProxy.start(upstream)');
    },
  );

  it('releases a connection that is accepted while the FaultProxy closes', async () => {
    await client.unary({});
    await new Promise<void>((resolve, reject) => {
      // Runs in a timer, so that this connection is accepted before the destroyed sockets are closed.
      setTimeout(() => {
        rawSocket();
        proxy.close().then(resolve, reject);
      }, 0);
    });
    await waitFor(() => server.connections.open === 0);
  });

  it('rejects an invalid upstream of a FaultProxy with an error that shows the expected format', async () => {
    await expect(FaultProxy.start('localhost')).rejects.toThrow(
      `expected an upstream in the form 'host:port', got "localhost"`,
    );
  });
});
