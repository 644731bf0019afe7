import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { freePort } from '../support/free-port.mjs';
import { EchoApp } from './echo-app.js';

/** Path of h2spec's program for clients (github.com/summerwind/h2spec, cmd/h2specd). */
const H2SPECD = process.env['H2SPECD'] ?? '';
/** Path of its program for servers. */
const H2SPEC = process.env['H2SPEC'] ?? '';
const SERVER = new URL('servers/echo-engine.mjs', import.meta.url).pathname;
const CLIENT = new URL('h2spec-client.mjs', import.meta.url).pathname;

/**
 * The cases that fail on purpose. A client whose call is over does not know what the peer had sent before it learned that, so it ignores
 * frames on closed streams; a flood of them ends the connection.
 */
const DEPARTURES = [
  '5.1. Stream States: closed: Sends a DATA frame after sending RST_STREAM frame',
  '5.1. Stream States: closed: Sends a HEADERS frame after sending RST_STREAM frame',
  '5.1. Stream States: closed: Sends a DATA frame',
  '5.1. Stream States: closed: Sends a HEADERS frame',
  '6.1. DATA: Sends a DATA frame on the stream that is not in "open" or "half-closed (local)" state',
];

it(
  "passes h2spec's cases for clients, except for the frames on closed streams",
  { timeout: 300_000 },
  async ({ skip }) => {
    skip(!existsSync(H2SPECD), 'not run: the environment variable H2SPECD does not name a program');
    // Below the ports that the system gives to connections.
    const args = ['--exec', `${process.execPath} ${CLIENT}`, '--timeout', '2', '--from-port', '14000'];
    const output = await new Promise<string>((resolve) => {
      // The exit code is 1, because cases fail.
      execFile(H2SPECD, args, (_error, stdout) => resolve(stdout));
    });
    // The failures are repeated after the results.
    const [results = ''] = output.split('Failures:');
    const failed: string[] = [];
    let section = '';
    for (const line of results.split('\n').map((one) => one.trim())) {
      if (/^\d\.\d*\.? /.test(line)) section = line;
      const title = /^× \d+: (.*)$/.exec(line)?.[1];
      if (title !== undefined) failed.push(`${section}: ${title}`);
    }
    expect(failed).toEqual(DEPARTURES);
    expect(output).toContain(`57 tests, ${String(57 - DEPARTURES.length)} passed`);
  },
);

/** Starts the engine's server of testing.v1.Echo, without Nest. Resolves to its port. */
async function startEngine(): Promise<number> {
  const port = await freePort();
  // Cases about the limit of streams are skipped without one.
  const server = spawn(process.execPath, [SERVER, String(port)], { env: { ...process.env, STREAM_LIMIT: '100' } });
  onTestFinished(() => void server.kill());
  await once(server.stdout, 'data');
  return port;
}

async function startApp(): Promise<number> {
  const channelOptions = { 'grpc.max_concurrent_streams': 100 };
  const app = await EchoApp.start({ url: '127.0.0.1:0', channelOptions });
  onTestFinished(() => app.close());
  return app.port;
}

it.for([
  ['of the engine', startEngine],
  ['in a Nest application', startApp],
] as const)("passes h2spec's cases for servers %s", { timeout: 300_000 }, async ([, start], { skip }) => {
  skip(!existsSync(H2SPEC), 'not run: the environment variable H2SPEC does not name a program');
  const port = await start();
  const output = await new Promise<string>((resolve) => {
    execFile(H2SPEC, ['-h', '127.0.0.1', '-p', String(port), '--timeout', '2'], (_error, stdout) => resolve(stdout));
  });
  expect(output).toContain('146 tests, 146 passed, 0 skipped, 0 failed');
});
