import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { captureLeaks, Http2FaultProxy, ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { expect, it, onTestFinished } from 'vitest';
import { ECHOES, upTo } from '../calls/support.js';
import { PYTHON, skipWithout } from '../support/programs.js';
import { ECHO_PROTO } from './echo-client.js';

const GRPCIO_CLIENT = fileURLToPath(new URL('./fixtures/grpcio_client.py', import.meta.url));

it("forwards calls of Python's grpcio through an Http2FaultProxy and injects the configured faults", async ({
  skip,
}) => {
  skip(...skipWithout('grpcio'));
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const server = await ScriptedGrpcServer.start({
    protoPath: ECHO_PROTO,
    scripts: {
      ...ECHOES,
      Unary: ({ request, metadata }) => ({
        message: request,
        headers: { 'x-seen-bin': metadata.get('x-sent-bin') as Buffer[] },
        trailers: { 'x-last': 'one' },
      }),
      // Sends messages, because grpcio 1.51 crashes with SIGILL on a response that has neither messages nor trailers.
      ServerStream: { messages: upTo(2) },
    },
  });
  onTestFinished(() => server.close());
  const proxy = await Http2FaultProxy.start(server.url);
  onTestFinished(() => proxy.close());

  proxy.failCalls({ kind: 'reset', code: 'REFUSED_STREAM' }, { method: 'UnsafeUnary' });
  proxy.failCalls({ kind: 'goaway', debugData: 'max_age' }, { method: 'UnsafeUnary' });
  proxy.failCalls({ kind: 'reset', code: 'INTERNAL_ERROR', at: 'headers' }, { method: 'ServerStream' });
  proxy.failCalls({ kind: 'missing-trailers' }, { method: 'ServerStream' });
  const { stdout } = await promisify(execFile)(PYTHON, [GRPCIO_CLIENT, proxy.url], { timeout: 20_000 });
  expect(JSON.parse(stdout)).toEqual({
    unary: true,
    large: true,
    headers: { 'x-seen-bin': '00ff' },
    trailers: { 'x-last': 'one' },
    uploaded: '1003',
    bidi: true,
    // Unlike grpc-js, grpcio does not resend a refused call.
    refused: 'UNAVAILABLE',
    unprocessed: 'OK',
    reset: 'INTERNAL',
    'without trailers': 'UNKNOWN',
  });
  expect(proxy.counters.accepted).toBe(2);
});
