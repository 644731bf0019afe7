import { status } from '@grpc/grpc-js';
import { captureLeaks, ChildServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { rejection } from '../calls/support.js';
import { EchoClient } from './echo-client.js';

/** A server of gRPC calls, and a server that starts faster, for tests that make no calls. */
const echo = new URL('./fixtures/echo-server.mjs', import.meta.url);
const script = new URL('./fixtures/listener.mjs', import.meta.url);

describe('ChildServer', () => {
  beforeEach(({ onTestFinished }) => {
    const leaks = captureLeaks();
    onTestFinished(() => leaks.settled());
  });

  /** Starts a server without calls, which is closed after the test. */
  async function start(): Promise<ChildServer> {
    const server = await ChildServer.start({ script });
    onTestFinished(() => server.close());
    return server;
  }

  /** Starts a server and a client of it. Both are closed after the test. */
  async function startEcho() {
    const server = await ChildServer.start({ script: echo });
    const client = new EchoClient(server.url);
    onTestFinished(async () => {
      client.close();
      await server.close();
    });
    return { server, client };
  }

  it('runs a child server in another process and exchanges messages with it', async () => {
    const { server, client } = await startEcho();
    expect((await client.unary({ text: 'hello' })).value?.text).toBe('hello');
    expect(server.pid).not.toBe(process.pid);
    server.send('how many?');
    await waitFor(() => server.messages.length > 0);
    expect(server.messages).toEqual([{ calls: 1 }]);
    expect(server.output).toEqual([`listening on ${server.url}`]);
  });

  it('runs a child server whose script Node can load only with a --require hook in execArgv', async () => {
    const hook = fileURLToPath(new URL('./fixtures/commonjs/load-txt.cjs', import.meta.url));
    const options = { script: new URL('./fixtures/commonjs/server.txt', import.meta.url), execArgv: ['-r', hook] };
    const other = await ChildServer.start(options);
    expect(other.output).toEqual([`listening on ${other.url}`]);
    await other.close();
  });

  it('starts a child server on another port if another process takes the free port first', async () => {
    const listener = createServer();
    const ports: number[] = [];
    const args = (port: number) => {
      if (ports.push(port) === 1) listener.listen(port, '127.0.0.1');
      return ['--port', String(port)];
    };
    const other = await ChildServer.start({ script, args });
    expect(ports).toEqual([(listener.address() as AddressInfo).port, other.port]);
    listener.close();
    expect(other.output).toEqual([`listening on ${other.url}`]);
    await other.close();
  });

  it('includes the output of a child server in the error if its port is in use at each start', async () => {
    const server = await start();
    const args = vi.fn(() => ['--port', String(server.port)]);
    await expect(ChildServer.start({ script, args })).rejects.toThrow(/ended before it reported .* EADDRINUSE/s);
    expect(args).toHaveBeenCalledTimes(3);
  });

  it('fails to restart a child server that ignores the given port, and ends it', async () => {
    const other = await ChildServer.start({ script, args: () => ['--port', '0'] });
    const { port } = other;
    await expect(other.restart()).rejects.toThrow(
      new RegExp(`to listen on port ${port} again, got \\d+; pass the port to the script with args`),
    );
    expect(other.running).toBe(false);
    expect(other.port).toBe(port);
  });

  it('kills a child server in the middle of a call and restarts it on the same port', async () => {
    const { server, client } = await startEcho();
    const stream = client.serverStream({ text: 'first' });
    await waitFor(() => stream.messages.length === 1);
    const { port, pid } = server;
    await server.kill();
    expect(server.running).toBe(false);
    expect(await stream.ended).toMatchObject({ code: status.UNAVAILABLE, details: 'Connection dropped' });
    expect((await client.unary({})).status.details).toContain('ECONNREFUSED');
    await server.restart();
    expect(server.port).toBe(port);
    expect(server.pid).not.toBe(pid);
    await waitFor(async () => (await client.unary({})).error === undefined);
  });

  it('ends a child server with terminate()', async () => {
    const { server, client } = await startEcho();
    await client.unary({});
    await server.terminate();
    expect(server.running).toBe(false);
  });

  /** Starts a server that drains for 1.5 s, as a child process of the shell script `wrapper`. */
  function startWrapped(
    wrapper: string,
    options: Partial<Parameters<typeof ChildServer.start>[0]> = {},
  ): Promise<ChildServer> {
    const drainSlowly = fileURLToPath(new URL('./fixtures/drain-slowly.mjs', import.meta.url));
    return ChildServer.start({
      script: new URL(`./fixtures/${wrapper}.sh`, import.meta.url),
      execPath: '/bin/sh',
      args: (port) => [process.execPath, drainSlowly, String(port)],
      ...options,
    });
  }

  it.each(['forward-sigterm', 'forward-sigterm-and-fail'])(
    'waits in terminate() for a child server that drains after its wrapper %s.sh has forwarded SIGTERM and exited',
    async (wrapper) => {
      const other = await startWrapped(wrapper);
      await other.terminate();
      expect(other.output.slice(1)).toEqual(['draining', 'drained']);
      expect(other.running).toBe(false);
    },
  );

  it('keeps reading the output and messages of a child server whose start script has put it in the background and exited', async () => {
    const other = await startWrapped('run-in-background');
    other.send('drain');
    await waitFor(() => !other.running);
    expect(other.output.slice(1)).toEqual(['draining', 'drained']);
  });

  it('rejects ChildServer.start() with the exit code and output of a server that exits before it reports its port, even if a process that the server started still runs', async () => {
    const started = rejection(
      startWrapped('run-in-background-and-fail', { ready: /never (\d+)/, readyTimeoutMs: 10_000 }),
    );
    expect(String(await started)).toMatch(
      /ended before it reported its port \(exit code 3\); its output:\ncannot load the configuration/,
    );
  });

  it('kills a child server that a shell script started without exec, even after the script was killed', async () => {
    const other = await startWrapped('run-command');
    process.kill(other.pid ?? 0, 'SIGKILL');
    await waitFor(() => !other.running);
    expect(other.pid).toBeUndefined();
    expect(() => other.freeze()).toThrow('ChildServer is not running');
    const { port } = other;
    await other.restart();
    expect(other.port).toBe(port);
    await other.close();
  });

  it('fails terminate() if a child server still drains after the timeout although its wrapper has exited, and ends it in close()', async () => {
    const other = await startWrapped('forward-sigterm');
    await expect(other.terminate(100)).rejects.toThrow('to end after SIGTERM');
    await other.close();
    expect(other.running).toBe(false);
  });

  it('freezes a child server with open connections until thaw()', async () => {
    const { server, client } = await startEcho();
    await client.unary({});
    server.freeze();
    expect((await client.unary({}, { deadline: Date.now() + 150 })).status.code).toBe(status.DEADLINE_EXCEEDED);
    const late = client.unary({ text: 'late' });
    server.thaw();
    expect((await late).value?.text).toBe('late');
  });

  it('fails to freeze a child server that is not running', async () => {
    const server = await start();
    await server.kill();
    expect(() => server.freeze()).toThrow('ChildServer is not running; write await server.restart() first');
    server.thaw();
  });

  it('fails to restart a child server after close()', async () => {
    const server = await start();
    await server.close();
    await expect(server.restart()).rejects.toThrow('ChildServer is closed; write await ChildServer.start(options)');
    expect(server.running).toBe(false);
  });

  it('starts no new process if a child server is closed while it restarts', async () => {
    const server = await start();
    const restarted = rejection(server.restart());
    await server.close();
    expect(String(await restarted)).toContain('ChildServer is closed');
    expect(server.running).toBe(false);
  });

  it('does not end a child server when messages are sent after the server has closed its IPC channel', async () => {
    // Sets `execPath`, because a child server without it ends when its IPC channel closes.
    const other = await ChildServer.start({ script: echo, execPath: process.execPath });
    const otherClient = new EchoClient(other.url);
    other.send('disconnect');
    for (let sent = 0; sent < 5; sent += 1) {
      await otherClient.unary({ text: 'wait for the server' });
      other.send('how many?');
    }
    expect(other.running).toBe(true);
    otherClient.close();
    await other.close();
  });

  it.each([
    ['a JSON line with a time', '{"message":"listening on 127.0.0.1:PORT","timestamp":"2026-01-01T10:20:30"}'],
    ['an IPv6 address', 'listening on [::1]:PORT'],
    ['an IPv4-mapped IPv6 address', 'listening on ::ffff:127.0.0.1:PORT'],
    ['a URL', 'Listening on http://localhost:PORT/'],
  ])('reads the port of a child server from %s', async (_what, line) => {
    const args = vi.fn((port: number) => [line, String(port)]);
    const other = await ChildServer.start({ script: new URL('./fixtures/print-line.mjs', import.meta.url), args });
    expect(args).toHaveBeenCalledExactlyOnceWith(other.port);
    await other.close();
  });

  it('restarts a child server whose ready pattern has the g flag', async () => {
    const other = await ChildServer.start({ script, ready: /listening on .*:(\d+)/gi });
    const { port } = other;
    await other.restart();
    expect(other.port).toBe(port);
    await other.close();
  });

  it('closes a frozen child server', async () => {
    const server = await start();
    server.freeze();
    await server.close();
    expect(server.pid).toBeUndefined();
  });

  it('reports a child server as ready when the script sends its port over IPC', async () => {
    const other = await ChildServer.start({ script, args: (port) => ['--ipc', '--port', String(port)] });
    expect(other.port).toBeGreaterThan(0);
    await other.close();
  });

  it('includes the output of a child server in the error if the script exits or never reports its port', async () => {
    let lastMs = 400;
    await expect(ChildServer.start({ script, args: () => ['--nonsense'] })).rejects.toThrow(
      /ended before it reported its port \(exit code \d+\); its output:\n.*nonsense/s,
    );
    // Doubles the timeout until it is long enough for the script to start on a busy machine.
    await waitFor(nextTry, { timeoutMs: 25_000, describe: 'the output of a script that never reports its port' });
    async function nextTry(): Promise<boolean> {
      const readyTimeoutMs = (lastMs *= 2);
      const silent = await rejection(ChildServer.start({ script, ready: /never (\d+)/, readyTimeoutMs }));
      expect(String(silent)).toMatch(
        new RegExp(`Waited ${readyTimeoutMs} ms for: .*; if it starts slowly, raise readyTimeoutMs`),
      );
      return /listening on 127/.test(String(silent));
    }
  });

  it('names the signal or the spawn error in the error of a child server that ends before it reports its port', async () => {
    const ended = (options: Partial<Parameters<typeof ChildServer.start>[0]>) =>
      rejection(ChildServer.start({ script: new URL('./fixtures/unfinished-line.mjs', import.meta.url), ...options }));
    const abort = fileURLToPath(new URL('./fixtures/kill-itself.cjs', import.meta.url));
    expect(String(await ended({ execArgv: ['-r', abort] }))).toContain(
      'reported its port (SIGKILL); it wrote no output',
    );
    expect(String(await ended({ execPath: '/no/such/node' }))).toContain(
      'reported its port (spawn /no/such/node ENOENT);',
    );
  });

  it('includes the last output line of a child server in the error even if the line has no newline', async () => {
    const unfinished = new URL('./fixtures/unfinished-line.mjs', import.meta.url);
    await expect(ChildServer.start({ script: unfinished })).rejects.toThrow(/its output:\ncannot open the database$/);
  });

  it('ends a child server when its IPC channel closes, and therefore when the parent process exits', async () => {
    const server = await start();
    server.send('disconnect');
    await waitFor(() => !server.running);
  });
});
