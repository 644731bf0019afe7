import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PYTHON } from '../support/programs.js';
import { ENGINE, Peer, program } from './peers.js';

/** Clients of others in front of the server's side of the engine. */
let peer: Peer;
beforeAll(async () => {
  peer = await Peer.start(ENGINE);
});
afterAll(() => peer.close());

/** Resolves to what a program prints. */
async function run(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, args, (error, stdout, stderr) => (error ? reject(new Error(stderr + stdout)) : resolve(stdout)));
  });
}

it('answers a client of hyper-h2', async ({ skip }) => {
  skip(spawnSync(PYTHON, ['-c', 'import h2']).status !== 0, 'not run: hyper-h2 is not installed');
  const script = new URL('hyper_h2_client.py', import.meta.url).pathname;
  expect(await run(PYTHON, [script, peer.url.slice('unix:'.length), '90'])).toBe("90 {'0'} True\n");
});

it('answers h2load', { timeout: 120_000 }, async ({ skip }) => {
  const missing = program('h2load', ['--version'])();
  skip(missing !== undefined, `not run: ${missing}`);
  const body = join(mkdtempSync(join(tmpdir(), 'h2load-')), 'body');
  writeFileSync(body, Buffer.alloc(5));
  const headers = ['-H', 'content-type: application/grpc', '-H', 'te: trailers'];
  const path = peer.url.slice('unix:'.length);
  const uri = ['--base-uri', `unix:${path}`, 'http://localhost/testing.v1.Echo/Unary'];
  const output = await run('h2load', ['-n', '5000', '-c', '10', '-m', '100', '-d', body, ...headers, ...uri]);
  expect(output).toContain('5000 succeeded, 0 failed, 0 errored, 0 timeout');
});
