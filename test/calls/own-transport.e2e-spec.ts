import { InterceptingCall, type Interceptor, type Metadata } from '@grpc/grpc-js';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { startHttp2Server, succeed } from './raw-http2-server.js';
import {
  failureOf,
  startClient,
  startServer,
  type ClientSettings,
  type EchoService,
  type EchoStub,
} from './support.js';

const passOn: Interceptor = (options, next) => new InterceptingCall(next(options));

async function echoOf(url: string, settings: ClientSettings = {}): Promise<EchoStub> {
  return (await startClient({ url, ...settings })).getService<EchoService>('Echo');
}

describe('request headers above the limit that the server announces', () => {
  it.each([
    ['directly on a connection', {}],
    ['through grpc-js’s channel', { channelOptions: { interceptors: [passOn] } }],
  ] satisfies [string, ClientSettings][])(
    'fail a call that runs %s before it is sent, once, and leave the connection to other calls',
    async (_, settings) => {
      const server = await startHttp2Server(succeed, { maxHeaderListSize: 8_192 });
      const echo = await echoOf(server.url, settings);
      await firstValueFrom(echo.unary({}));
      const metadata = { 'x-small': 'y', 'x-large': 'x'.repeat(9_000) };
      const error = await failureOf(echo.unary({}, { metadata }));
      expect(error).toMatchObject({ code: 8, reason: 'not-sent', reachedServer: 'no', attempts: [{ number: 1 }] });
      expect(error.details).toMatch(
        /^Request headers larger than the server's limit \(9\d{3} vs 8192 bytes; largest key x-large: 9000 bytes\)$/,
      );
      await firstValueFrom(echo.unary({}));
      expect(server.streams).toHaveLength(2);
      expect(server.sessions.size).toBe(1);
    },
  );
});

describe('request headers above 64 KiB to a server that announces no limit', () => {
  it('are sent once if the server closes the connection, as Node’s servers do', async () => {
    const server = await startServer();
    const echo = await echoOf(server.url);
    const large = () => failureOf(echo.unary({}, { metadata: { 'x-large': 'x'.repeat(100_000) } }));
    expect(await large()).toMatchObject({ code: 8, attempts: [{ number: 1 }, { number: 2 }] });
    await firstValueFrom(echo.unary({}));
    const error = await large();
    expect(error).toMatchObject({ code: 8, reason: 'not-sent', reachedServer: 'no' });
    expect(error.details).toMatch(
      /^Request headers larger than the limit at which the server closed a connection \(100\d{3} vs 65535 bytes/,
    );
    expect(server.connections.accepted).toBe(2);
  });
});

it('loses no other call when as many calls are cancelled at once as nghttp2 allows a client to reset', async () => {
  const server = await startServer();
  const echo = await echoOf(server.url);
  server.script('ServerStream', { messages: [{ number: 1 }], never: true });
  const stream = echo.serverStream({})[Symbol.asyncIterator]();
  expect(await stream.next()).toMatchObject({ value: { number: 1 } });
  server.script('Unary', { never: true });
  const abort = new AbortController();
  const calls = Array.from({ length: 900 }, () => failureOf(echo.unary({}, { signal: abort.signal })));
  await waitFor(() => server.counts().open === 901);
  abort.abort();
  for (const error of await Promise.all(calls)) expect(error.code).toBe(1);
  server.script('Unary', { message: { text: 'beside' } });
  expect(await firstValueFrom(echo.unary({}))).toMatchObject({ text: 'beside' });
  expect(server.connections.accepted).toBe(1);
  await stream.return?.();
});

it('drops response metadata that grpc-js cannot represent, and keeps the call and the process', async () => {
  const server = await startHttp2Server((stream) => {
    const bad = { 'x-bad': 'caf\u00e9', 'x!': 'odd', 'x-good': 'yes' };
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...bad }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', ...bad }));
    stream.end(Buffer.alloc(5));
  });
  const echo = await echoOf(server.url);
  for (let call = 0; call < 2; call++) {
    const seen: Metadata[] = [];
    await firstValueFrom(echo.unary({}, { onHeaders: (headers) => seen.push(headers) }));
    expect(seen.map((headers) => Object.keys(headers.getMap()))).toEqual([['content-type', 'x-good', 'date']]);
  }
  expect(server.sessions.size).toBe(1);
});
