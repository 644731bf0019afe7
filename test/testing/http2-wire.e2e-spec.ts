import { once } from 'node:events';
import { connect, createServer } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream, ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { captureLeaks, Http2FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { settled } from '../calls/support.js';

/** A gRPC message: a prefix of five bytes and one byte of payload. */
const message = (byte: number) => Buffer.from([0, 0, 0, 0, 1, byte]);

/** A body that is larger than the flow-control window of a peer that does not read. */
const UNREAD = Buffer.alloc(100_000);

/** Uses a client and a server of node:http2, because gRPC clients and servers do not expose the frames on the wire. */
describe('Http2FaultProxy, HTTP/2 frames', () => {
  let proxy: Http2FaultProxy;
  let client: ClientHttp2Session;
  let goaways: { code: number; lastStreamId: number; debugData: string | undefined }[];
  /** The streams that the server received, with the bytes of each. */
  let served: { stream: ServerHttp2Stream; bytes: Buffer[] }[];

  beforeEach(async () => {
    const leaks = captureLeaks();
    onTestFinished(() => leaks.settled());
    served = [];
    const server = createServer();
    const sessions = new Set<{ destroy(): void }>();
    server.on('session', (session) => sessions.add(session));
    server.on('stream', (stream) => {
      const received = { stream, bytes: [] as Buffer[] };
      served.push(received);
      stream.on('data', (bytes: Buffer) => received.bytes.push(bytes));
      stream.on('error', () => undefined);
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => {
      for (const session of sessions) session.destroy();
      server.close();
    });
    proxy = await Http2FaultProxy.start(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    onTestFinished(() => proxy.close());
    client = connect(`http://${proxy.url}`);
    client.on('error', () => undefined);
    onTestFinished(() => client.destroy());
    goaways = [];
    client.on('goaway', (code, lastStreamId, debugData?: Buffer) => {
      goaways.push({ code, lastStreamId, debugData: debugData?.toString() });
    });
    await once(client, 'remoteSettings');
  });

  function call(): { readonly stream: ClientHttp2Stream; readonly bytes: Buffer[] } {
    const stream = client.request({ ':method': 'POST', ':path': '/a.B/Get' }, { endStream: false });
    const bytes: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => bytes.push(chunk));
    stream.on('error', () => undefined);
    return { stream, bytes };
  }

  /** Resolves to true if the stream is still open after the proxy has received everything that the upstream has sent so far. */
  const staysOpen = async (stream: ClientHttp2Stream) => (await settled(() => Number(stream.closed))) === 0;

  it.each([
    ['to-client', 11, 8],
    ['to-upstream', 8, 11],
  ] as const)(
    'sends RST_STREAM %s from an Http2FaultProxy with the given code, and with CANCEL in the other direction',
    async (direction, toClient, toUpstream) => {
      proxy.failCalls({ kind: 'reset', code: 'ENHANCE_YOUR_CALM', at: { afterRequests: 1 }, direction });
      const { stream } = call();
      stream.write(message(1));
      await waitFor(() => stream.closed && served[0]?.stream.closed === true);
      expect([stream.rstCode, served[0]?.stream.rstCode]).toEqual([toClient, toUpstream]);
      expect(proxy.counters.failed).toBe(1);
    },
  );

  it('resets a stream in an Http2FaultProxy after the given number of requests and forwards no later bytes', async () => {
    proxy.failCalls({ kind: 'reset', code: 'CANCEL', at: { afterRequests: 2 } });
    const { stream } = call();
    stream.write(message(1));
    await waitFor(() => served[0]?.bytes.length === 1);
    expect(stream.closed).toBe(false);
    expect(proxy.counters.failed).toBe(0);
    stream.write(Buffer.concat([message(2), message(3)]));
    await waitFor(() => stream.closed && served[0]?.stream.closed === true);
    expect(Buffer.concat(served[0]!.bytes)).toEqual(Buffer.concat([message(1), message(2)]));
  });

  it('resets a stream in an Http2FaultProxy after the given number of responses and forwards no later bytes', async () => {
    proxy.failCalls({ kind: 'reset', code: 'CANCEL', at: { afterResponses: 2 } });
    const { stream, bytes } = call();
    await waitFor(() => served.length === 1);
    served[0]?.stream.respond({ ':status': 200 });
    served[0]?.stream.write(message(1));
    await waitFor(() => bytes.length === 1);
    expect(stream.closed).toBe(false);
    served[0]?.stream.write(Buffer.concat([message(2), message(3)]));
    await waitFor(() => stream.closed);
    expect(Buffer.concat(bytes)).toEqual(Buffer.concat([message(1), message(2)]));
  });

  it('delivers the whole last message if an Http2FaultProxy sends a reset instead of the trailers', async () => {
    proxy.failCalls({ kind: 'reset', code: 'INTERNAL_ERROR', at: 'trailers' });
    const { stream, bytes } = call();
    stream.pause();
    await waitFor(() => served.length === 1);
    served[0]?.stream.respond({ ':status': 200 });
    served[0]?.stream.write(Buffer.alloc(60_000));
    expect(await staysOpen(stream)).toBe(true);
    // The client, which does not read, has room for only part of these bytes.
    served[0]?.stream.end(Buffer.alloc(10_000));
    await waitFor(() => served[0]?.stream.writableFinished === true);
    expect(await staysOpen(stream)).toBe(true);
    stream.resume();
    await waitFor(() => stream.closed);
    expect(Buffer.concat(bytes)).toHaveLength(70_000);
    expect(stream.rstCode).toBe(2);
  });

  it.each(['keeps', 'closes'])(
    'forwards a reset by the upstream of an Http2FaultProxy to a client that does not read (the upstream %s the connection)',
    async (what) => {
      const { stream } = call();
      stream.pause();
      await waitFor(() => served.length === 1);
      const upstream = served[0]!.stream;
      const { session } = upstream;
      upstream.respond({ ':status': 200 });
      // The proxy receives more than the client has room for.
      await new Promise((resolve) => upstream.write(UNREAD, resolve));
      expect(await staysOpen(stream)).toBe(true);
      upstream.close(8);
      if (what === 'closes') session?.close();
      await waitFor(() => stream.closed);
      expect(stream.rstCode).toBe(8);
    },
  );

  it('forwards a reset by the client of an Http2FaultProxy to an upstream that does not read', async () => {
    const { stream } = call();
    await waitFor(() => served.length === 1);
    const upstream = served[0]!.stream;
    upstream.pause();
    upstream.respond({ ':status': 200 });
    await new Promise((resolve) => stream.write(UNREAD, resolve));
    stream.close(8);
    await waitFor(() => upstream.closed);
    expect(upstream.rstCode).toBe(8);
  });

  it('sends GOAWAY from an Http2FaultProxy with the given debug data and last stream ID, by default the ID of the newest call', async () => {
    call();
    await waitFor(() => served.length === 1);
    proxy.goaway({ lastStreamId: 'none', debugData: 'soon' });
    await waitFor(() => goaways.length === 1);
    proxy.goaway({ debugData: 'max_age' });
    await waitFor(() => goaways.length === 2);
    expect(goaways).toEqual([
      { code: 0, lastStreamId: 2 ** 31 - 1, debugData: 'soon' },
      { code: 0, lastStreamId: 1, debugData: 'max_age' },
    ]);
  });

  it('rejects a call with GOAWAY from an Http2FaultProxy, and ends earlier calls if the GOAWAY has an error code', async () => {
    const before = call();
    await waitFor(() => served.length === 1);
    proxy.failCalls({ kind: 'goaway', code: 'INTERNAL_ERROR', debugData: 'broken' });
    call();
    await waitFor(() => before.stream.destroyed && client.destroyed);
    expect(goaways).toEqual([{ code: 2, lastStreamId: 1, debugData: 'broken' }]);
    expect(served).toHaveLength(1);
    expect(proxy.counters).toMatchObject({ calls: 2, forwarded: 1, failed: 1 });
  });

  it('counts a call of an Http2FaultProxy as failed only if a fault ends it, and removes a fault with the function that failCalls() returns', async () => {
    proxy.failCalls({ kind: 'reset', code: 'CANCEL', at: { afterResponses: 1 } });
    const { stream } = call();
    await waitFor(() => served.length === 1);
    served[0]?.stream.respond({ ':status': 200, 'grpc-status': '0' }, { endStream: true });
    stream.end();
    await waitFor(() => stream.closed);
    const removeFault = proxy.failCalls({ kind: 'missing-trailers' });
    proxy.failCalls({ kind: 'reset', code: 'REFUSED_STREAM' });
    removeFault();
    const refused = call();
    await waitFor(() => refused.stream.closed);
    expect(refused.stream.rstCode).toBe(7);
    expect(proxy.counters).toMatchObject({ calls: 2, failed: 1 });
  });

  it.each([
    ['http://127.0.0.1:5', {}, `expected an upstream in the form 'host:port', got "http://127.0.0.1:5"`],
    ['127.0.0.1:5', { tls: { key: 'x', cert: 'y' } }, /PEM/],
    ['127.0.0.1:5', { upstreamTls: { key: 'x', cert: 'y' } }, /PEM/],
  ])('rejects Http2FaultProxy.start() with the upstream %s and the options %j', async (upstream, options, why) => {
    await expect(Http2FaultProxy.start(upstream, options)).rejects.toThrow(why);
  });
});
