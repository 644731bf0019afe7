import { credentials, InterceptingCall, Metadata, type Interceptor } from '@grpc/grpc-js';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, type Observable } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { startHttp2Server } from './raw-http2-server.js';
import { failureOf, rejection, startClient, startServer, type ClientSettings, type EchoService } from './support.js';
import { FrameServer, keyed } from '../support/frame-server.js';
import { headers, settings, windowUpdate } from '../unit-support/frames.js';

const TRANSPORTS = ['grpc-js', 'socket'] as const;

async function echoOf(url: string, clientSettings: ClientSettings = {}) {
  return (await startClient({ url, timeoutMs: 5_000, ...clientSettings })).getService<EchoService>('Echo');
}

/** The error of a call; `undefined` if it succeeds. */
function endOf(call: Observable<unknown>): Promise<unknown> {
  return firstValueFrom(call).then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** An interceptor that starts each call with what `change` returns. */
function starting(change: (metadata: Metadata) => Metadata): Interceptor {
  return (options, next) =>
    new InterceptingCall(next(options), {
      start: (metadata, listener, go) => {
        go(change(metadata), listener);
      },
    });
}

describe('a call that ends while it starts', () => {
  it('is not sent if it waits for credentials, and says so', async () => {
    const server = await startServer();
    const echo = await echoOf(server.url);
    await firstValueFrom(echo.unary({}));
    const token = credentials.createFromMetadataGenerator((_, callback) => {
      process.nextTick(() => {
        callback(null, new Metadata());
      });
    });
    const abort = new AbortController();
    const failed = failureOf(echo.unsafeUnary({ text: 'write' }, { credentials: token, signal: abort.signal }));
    abort.abort();
    expect((await failed).reachedServer).toBe('no');
    await firstValueFrom(echo.unary({}));
    expect(server.counts('UnsafeUnary').calls).toBe(0);
  });

  it.each([
    ['', {}],
    ['and is hedged ', { ServerStream: { idempotent: true, hedge: 'p90' } }],
  ] as const)('%smay have reached the server if an interceptor ends it after it has sent it', async (_, methods) => {
    const server = await startServer();
    let abort = undefined as AbortController | undefined;
    const aborting: Interceptor = (options, next) =>
      new InterceptingCall(next(options), {
        start: (metadata, listener, go) => {
          go(metadata, listener);
          abort?.abort();
        },
      });
    const echo = await echoOf(server.url, { methods, channelOptions: { interceptors: [aborting] } });
    await firstValueFrom(echo.unary({}));
    abort = new AbortController();
    const error = await failureOf(echo.serverStream({}, { signal: abort.signal }));
    expect(error.reachedServer).toBe('maybe');
  });
});

describe('evidence', () => {
  it('is not that of a call of another client to which an interceptor passes its metadata', async () => {
    const server = await FrameServer.start((request) => {
      if (request.key !== 'write' || request.number > 1) request.connection.write(request.success());
    });
    const other = await FrameServer.start((request) => {
      request.connection.goaway(0);
      request.connection.socket.end();
    });
    const mirror = await echoOf(other.url);
    let mirrored: Promise<unknown> | undefined;
    const interceptor = starting((metadata) => {
      if (metadata.get('x-call')[0] !== '{write}') return metadata;
      setImmediate(() => {
        mirrored = rejection(mirror.unsafeUnary({}, { metadata, timeoutMs: 200 }));
      });
      return metadata;
    });
    const echo = await echoOf(server.url, { channelOptions: { interceptors: [interceptor] } });
    await firstValueFrom(echo.unary({}, { metadata: keyed('warm') }));
    const failed = rejection(echo.unsafeUnary({}, { metadata: keyed('write') }));
    await waitFor(() => mirrored !== undefined && server.requests('write').length === 1);
    await mirrored;
    server.connections[0]?.socket.destroy();
    expect(await failed).toMatchObject({ reachedServer: 'maybe' });
    expect(server.executable('write')).toHaveLength(1);
  });

  it('is not that of another call for which an interceptor uses the same metadata', async () => {
    const server = await FrameServer.start((request) => {
      const isFirst = server.connections.length === 1;
      if (!isFirst || request.streamId === 1) request.connection.write(request.success());
      else if (request.streamId === 5) request.connection.goaway(3);
    });
    let isShared = false;
    let shared: Metadata | undefined;
    const interceptor = starting((metadata) => (isShared ? (shared ??= metadata) : metadata));
    const echo = await echoOf(server.url, { channelOptions: { interceptors: [interceptor] } });
    await firstValueFrom(echo.unary({}, { metadata: keyed('warm') }));
    isShared = true;
    // The GOAWAY says that stream 3 may be executed, and stream 5 is not.
    const first = rejection(echo.unsafeUnary({}, { metadata: keyed('write') }));
    await waitFor(() => server.requests('write').length === 1);
    const second = rejection(echo.unsafeUnary({}, { metadata: keyed('write') }));
    // The rejected call may already be sent again.
    await waitFor(() => server.requests('write').length >= 2);
    server.connections[0]?.socket.destroy();
    expect(await first).toMatchObject({ reachedServer: 'maybe' });
    await second;
  });

  it('says that a write was never sent if the peer violates the protocol before it left', async () => {
    const server = await FrameServer.start((request) => {
      request.connection.write(request.success(), ...(request.key === 'bad' ? [settings([2, 1])] : []));
    });
    const echo = await echoOf(server.url);
    await firstValueFrom(echo.unary({}, { metadata: keyed('warm') }));
    const written = new Promise<unknown>((resolve) => {
      echo.unary({}, { metadata: keyed('bad') }).subscribe(() => {
        resolve(endOf(echo.unsafeUnary({}, { metadata: keyed('write') })));
      });
    });
    // It is sent again, once, on another connection.
    expect(await written).toBeUndefined();
    expect(server.requests('write')).toHaveLength(1);
  });

  it('does not trust a peer that rejects a stream on which it has sent a frame', async () => {
    const server = await FrameServer.start((request) => {
      if (request.key === 'warm' || request.number > 1) request.connection.write(request.success());
      else {
        request.connection.write(windowUpdate(request.streamId, 100));
        request.connection.goaway(request.streamId - 2);
      }
    });
    const echo = await echoOf(server.url);
    await firstValueFrom(echo.unary({}, { metadata: keyed('warm') }));
    await rejection(echo.unsafeUnary({}, { metadata: keyed('write') }));
    expect(server.requests('write')).toHaveLength(1);
  });

  it.each(['GOAWAY', 'FIN'])('of a lost connection counts if %s follows a response without trailers', async (end) => {
    const server = await FrameServer.start((request) => {
      if (request.key === 'warm' || request.number > 1) {
        request.connection.write(request.success());
        return;
      }
      const cut = Buffer.concat([request.headers(), request.message(), request.end()]);
      if (end === 'FIN') request.connection.socket.end(cut);
      else {
        request.connection.socket.cork();
        request.connection.write(cut);
        request.connection.goaway(request.streamId);
        request.connection.socket.uncork();
      }
    });
    const echo = await echoOf(server.url);
    await firstValueFrom(echo.unary({}, { metadata: keyed('warm') }));
    await firstValueFrom(echo.unary({}, { metadata: keyed('read') }));
    expect(server.requests('read')).toHaveLength(2);
  });
});

describe('a response', () => {
  it.each<[string, string, readonly string[], number]>([
    ['content-type in upper case', '200', ['Application/gRPC'], 0],
    ['content-type of another kind', '200', ['application/octet-stream'], 0],
    ['two content-types', '200', ['application/grpc', 'text/plain'], 0],
    [':status 500', '500', ['application/grpc'], 9],
    [':status 503', '503', ['application/grpc'], 9],
  ])('with %s has the gRPC status of its trailers, as with grpc-js', async (_, http, types, status) => {
    const head = [[':status', http] as const, ...types.map((type) => ['content-type', type] as const)];
    const server = await FrameServer.start((request) => {
      request.connection.write(
        headers(request.streamId, head),
        request.message(),
        request.trailers(status, 'of the handler'),
      );
    });
    for (const transport of TRANSPORTS) {
      const echo = await echoOf(server.url, { transport });
      const key = transport === 'socket' ? 'socket' : 'plain';
      const error = await endOf(echo.unary({}, { metadata: keyed(key) }));
      expect([transport, error]).toEqual([
        transport,
        status === 0 ? undefined : expect.objectContaining({ code: status }),
      ]);
      expect(server.requests(key)).toHaveLength(1);
    }
  });

  it('may have more than 64 KiB of trailers, as with grpc-js', async () => {
    const trailers = { 'x-details-bin': Buffer.alloc(50_000, 7) };
    const { url } = await startServer({ scripts: { UnsafeUnary: { message: {}, trailers } } });
    for (const transport of TRANSPORTS) await firstValueFrom((await echoOf(url, { transport })).unsafeUnary({}));
  });

  it('has the same metadata as with grpc-js if fields are repeated', async () => {
    const repeated = {
      'set-cookie': ['a=1; Path=/', 'b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT'],
      'x-many': ['1', '2'],
      cookie: ['a=1', 'b=2'],
    };
    const server = await startHttp2Server((stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...repeated }, { waitForTrailers: true });
      stream.once('wantTrailers', () => {
        stream.sendTrailers({ 'grpc-status': '0' });
      });
      stream.end(Buffer.alloc(5));
    });
    const seen: Record<string, unknown>[] = [];
    for (const transport of TRANSPORTS) {
      const onHeaders = (received: Metadata) => seen.push({ ...received.toJSON(), date: [] });
      await firstValueFrom((await echoOf(server.url, { transport })).unary({}, { onHeaders }));
    }
    expect(seen[0]?.['set-cookie']).toHaveLength(2);
    expect(seen[1]).toEqual(seen[0]);
  });

  it('with two different gRPC statuses is no success', async () => {
    const server = await FrameServer.start((request) => {
      const both = headers(
        request.streamId,
        [
          ['grpc-status', '5'],
          ['grpc-status', '0'],
        ],
        1,
      );
      request.connection.write(request.headers(), request.message(), both);
    });
    for (const transport of TRANSPORTS) {
      const error = await failureOf((await echoOf(server.url, { transport })).unary({}, { metadata: keyed('x') }));
      expect(error).toMatchObject({ code: 2, reachedServer: 'yes' });
    }
  });
});
