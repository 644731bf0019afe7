import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** Accepts no connection until a byte arrives at its standard input. */
const LISTENER = `
  const { readSync, writeSync } = require('node:fs');
  const { connect, createServer } = require('node:net');
  const server = createServer((client) => {
    const upstream = connect(Number(process.argv[1]), '127.0.0.1');
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.pipe(upstream).pipe(client);
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    writeSync(1, server.address().port + '\\n');
    readSync(0, Buffer.alloc(1));
  });`;

/**
 * Starts a listener whose backlog is full, so that the kernel drops each SYN, until `accept()` is called. Then it forwards all to the port
 * `upstream`.
 */
export async function startFullListener(upstream = 0): Promise<{ readonly port: number; accept(): void }> {
  const child = spawn(process.execPath, ['-e', LISTENER, String(upstream)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const fillers: Socket[] = [];
  onTestFinished(async () => {
    for (const socket of fillers) socket.destroy();
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(line.toString());
  // Linux accepts one connection more than the backlog.
  for (let taken = 0; taken < 2; taken++) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    fillers.push(socket);
    await once(socket, 'connect');
  }
  return { port, accept: () => child.stdin.write('x') };
}
