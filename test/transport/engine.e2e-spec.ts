import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { PYTHON } from '../support/programs.js';
import { EchoClient } from '../testing/echo-client.js';
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

function started(): EchoClient {
  const client = new EchoClient(peer.url, undefined, { 'grpc.max_receive_message_length': -1 });
  onTestFinished(() => client.close());
  return client;
}

it("completes all kinds of calls of grpc-js's client", async () => {
  const client = started();
  const payload = Buffer.alloc(3_000_000, 'abc');
  const answers = await Promise.all([
    client.unary({ text: 'large', payload }),
    ...Array.from({ length: 500 }, (_, number) => client.unary({ number })),
  ]);
  expect(answers[0]?.value?.payload.equals(payload)).toBe(true);
  expect(answers.slice(1).map(({ value }) => value?.number)).toEqual(Array.from({ length: 500 }, (_, at) => at));
  const many = Array.from({ length: 2_000 }, (_, number) => ({ number, text: 'x'.repeat(100) }));
  expect(await client.clientStream(many)).toMatchObject({ number: 2_000 });
  const stream = client.serverStream({ number: 20_000 });
  expect(await stream.ended).toMatchObject({ code: 0 });
  expect(stream.messages).toHaveLength(20_000);
  const { call, messages, ended } = client.bidi();
  for (const request of many) call.write(request);
  call.end();
  expect(await ended).toMatchObject({ code: 0 });
  expect(messages).toHaveLength(2_000);
});

it("passes statuses and metadata to grpc-js's client, and takes its cancellations", async () => {
  const client = started();
  const metadata = new Metadata();
  metadata.set('x-status', '5');
  expect((await client.unary({}, { metadata })).status).toMatchObject({ code: 5, details: 'no such é' });
  const waiting = new Metadata();
  waiting.set('x-wait', '1');
  const late = await client.unary({}, { metadata: waiting, deadline: Date.now() + 200 });
  expect(late.status.code).toBe(4);
  expect((await client.unary({ number: 7 })).value?.number).toBe(7);
});

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
