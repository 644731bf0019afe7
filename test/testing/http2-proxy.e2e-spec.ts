import { readFileSync } from 'node:fs';
import { credentials, Metadata, status } from '@grpc/grpc-js';
import { captureLeaks, Http2FaultProxy, ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { settled } from '../calls/support.js';
import { repeatUntil } from '../support/repeat-until.js';
import { ECHO_PROTO, EchoClient } from './echo-client.js';

const tlsFile = (name: string) => readFileSync(new URL(`../fixtures/tls/${name}.pem`, import.meta.url));

describe('Http2FaultProxy without faults', () => {
  let leaks: ReturnType<typeof captureLeaks>;
  let server: ScriptedGrpcServer;
  let proxy: Http2FaultProxy;
  let client: EchoClient;

  beforeEach(async () => {
    leaks = captureLeaks();
    server = await ScriptedGrpcServer.start({
      protoPath: ECHO_PROTO,
      scripts: {
        Unary: (call) => ({ message: call.request }),
        UnsafeUnary: { hold: 'everything' },
        ServerStream: { messages: [{ number: 1 }, { number: 2 }, { number: 3 }] },
        ClientStream: async ({ requests }) => {
          let number = 0;
          for await (const _ of requests) number += 1;
          return { message: { number } };
        },
        Bidi: { messages: (call) => call.requests },
      },
    });
    proxy = await Http2FaultProxy.start(server.url);
    client = new EchoClient(proxy.url);
  });
  afterEach(async () => {
    client.close();
    await proxy.close();
    await server.close();
    await leaks.settled();
  });

  it('forwards calls of all four kinds through an Http2FaultProxy', async () => {
    expect((await client.unary({ text: 'hello' })).value?.text).toBe('hello');
    expect((await client.clientStream([{}, {}, {}])).number).toBe(3);
    const stream = client.serverStream({});
    expect((await stream.ended).code).toBe(status.OK);
    expect(stream.messages.map(({ number }) => number)).toEqual([1, 2, 3]);
    const bidi = client.bidi();
    bidi.call.write({ number: 1 });
    await waitFor(() => bidi.messages.length === 1);
    bidi.call.write({ number: 2 });
    bidi.call.end();
    expect((await bidi.ended).code).toBe(status.OK);
    expect(bidi.messages.map(({ number }) => number)).toEqual([1, 2]);
    expect(proxy.counters).toEqual({ accepted: 1, open: 1, calls: 4, forwarded: 4, failed: 0, pings: 0 });
  });

  it('forwards metadata, headers, status, details, and trailers through an Http2FaultProxy', async () => {
    const binary = Buffer.from([0, 1, 2, 250, 251]);
    server.script('Unary', ({ metadata }) => ({
      headers: { 'x-seen-bin': metadata.get('x-bin') as Buffer[], 'x-seen': metadata.get('x-text') as string[] },
      status: 'DATA_LOSS',
      details: 'größer\n100%',
      trailers: { 'x-last': ['a', 'b'], 'x-last-bin': binary },
    }));
    const metadata = new Metadata();
    for (const value of [binary, Buffer.from('second')]) metadata.add('x-bin', value);
    for (const value of ['one', 'two, three']) metadata.add('x-text', value);
    const answer = await client.unary({}, { metadata });
    expect(answer.headers?.get('x-seen-bin')).toEqual([binary, Buffer.from('second')]);
    expect(answer.headers?.get('x-seen').join()).toBe('one, two, three');
    expect(answer.status).toMatchObject({ code: status.DATA_LOSS, details: 'größer\n100%' });
    expect(answer.status.metadata.get('x-last').join()).toBe('a, b');
    expect(answer.status.metadata.get('x-last-bin')).toEqual([binary]);
  });

  it('forwards a trailers-only response through an Http2FaultProxy', async () => {
    server.script('Unary', { status: 'NOT_FOUND', details: 'no such thing', trailers: { 'x-why': 'because' } });
    const answer = await client.unary({});
    expect(answer.status).toMatchObject({ code: status.NOT_FOUND, details: 'no such thing' });
    expect(answer.status.metadata.get('x-why')).toEqual(['because']);
    expect(answer.headers).toBeUndefined();
  });

  it('forwards large messages completely through an Http2FaultProxy and applies backpressure to the sender', async () => {
    const payload = Buffer.alloc(3_000_000, 7);
    expect((await client.unary({ payload })).value?.payload.equals(payload)).toBe(true);
    let made = 0;
    server.script('ServerStream', {
      messages: function* () {
        for (;;) {
          made += 1;
          yield { payload: Buffer.alloc(64 * 1024) };
        }
      },
    });
    const { call, ended } = client.serverStream({});
    call.pause();
    await waitFor(() => made > 0);
    expect(await settled(() => made)).toBeLessThan(200);
    call.cancel();
    expect((await ended).code).toBe(status.CANCELLED);
    await waitFor(() => server.counts('ServerStream').cancelled === 1);
  });

  it('forwards cancellations and deadlines through an Http2FaultProxy, and keeps the connection open', async () => {
    server.script('Bidi', { messages: [{ number: 1 }], never: true });
    const stream = client.bidi();
    stream.call.write({ number: 1 });
    await waitFor(() => stream.messages.length === 1);
    stream.call.cancel();
    await waitFor(() => server.counts('Bidi').cancelled === 1);
    await repeatUntil('the server receives the call before its deadline', async () => {
      const { code } = (await client.unary({}, { deadline: Date.now() + 50, method: 'UnsafeUnary' })).status;
      expect(code).toBe(status.DEADLINE_EXCEEDED);
      return server.counts('UnsafeUnary').calls > 0;
    });
    await waitFor(() => server.counts('UnsafeUnary').open === 0);
    expect(server.counts('UnsafeUnary')).toMatchObject({ answered: 0, disconnected: 0 });
    expect(proxy.counters.accepted).toBe(1);
  });

  it('drops or drains the client connections of an Http2FaultProxy as the upstream does, and fails calls while the upstream is unreachable', async () => {
    const held = client.unary({}, { method: 'UnsafeUnary' });
    await waitFor(() => server.heldCount() === 1);
    await server.stop('kill-connections');
    expect((await held).status).toMatchObject({ code: status.UNAVAILABLE, details: 'Connection dropped' });
    expect((await client.unary({})).status.code).toBe(status.UNAVAILABLE);
    await server.restart();
    await waitFor(async () => (await client.unary({})).error === undefined);
    const served = client.unary({}, { method: 'UnsafeUnary' });
    await waitFor(() => server.heldCount() === 1);
    server.drainConnections(10_000);
    const next = await client.unary({ text: 'elsewhere' });
    expect(next.value?.text).toBe('elsewhere');
    server.release();
    expect((await served).status.code).toBe(status.OK);
    await waitFor(() => proxy.counters.open === 1);
  });

  it('closes the upstream connection of an Http2FaultProxy when the client disconnects', async () => {
    const held = client.unary({}, { method: 'UnsafeUnary' });
    await waitFor(() => server.heldCount() === 1);
    client.client.getChannel().close();
    server.release();
    await held;
    await waitFor(() => proxy.counters.open === 0);
    await waitFor(() => server.connections.open === 0);
  });

  it('uses TLS on both sides of an Http2FaultProxy, and rejects a client without a certificate', async () => {
    const [key, cert, ca] = [tlsFile('server-key'), tlsFile('server'), tlsFile('ca')];
    const secure = await ScriptedGrpcServer.start({
      protoPath: ECHO_PROTO,
      tls: { key, cert },
      scripts: { Unary: (call) => ({ message: call.request }) },
    });
    const between = await Http2FaultProxy.start(secure.url, { tls: { key, cert, ca }, upstreamTls: { ca } });
    const identity = [tlsFile('client-key'), tlsFile('client')] as const;
    const known = new EchoClient(between.url, credentials.createSsl(ca, ...identity));
    expect((await known.unary({ text: 'secret' })).value?.text).toBe('secret');
    const payload = Buffer.alloc(1_000_000, 7);
    expect((await known.unary({ payload })).value?.payload.equals(payload)).toBe(true);
    const withoutCertificate = new EchoClient(between.url, credentials.createSsl(ca));
    expect((await withoutCertificate.unary({})).error).toBeDefined();
    between.goaway({ debugData: 'bye' });
    expect((await known.unary({ text: 'again' })).value?.text).toBe('again');
    for (const caller of [known, withoutCertificate]) caller.close();
    await between.close();
    await secure.close();
  });

  it.each([
    [
      'without upstreamTls',
      {},
      /^the upstream closed the connection before it sent SETTINGS; if it requires TLS, set upstreamTls$/,
    ],
    ['without a CA', { upstreamTls: {} }, /certificate/],
    ['with the wrong serverName', { upstreamTls: { ca: tlsFile('ca'), serverName: 'other.test' } }, /other\.test/],
  ])(
    'reports in the counters why an Http2FaultProxy %s cannot connect to a TLS upstream',
    async (_what, options, reason) => {
      const tls = { key: tlsFile('server-key'), cert: tlsFile('server') };
      const secure = await ScriptedGrpcServer.start({ protoPath: ECHO_PROTO, tls });
      const between = await Http2FaultProxy.start(secure.url, options);
      expect(between.counters.lastUpstreamError).toBeUndefined();
      const caller = new EchoClient(between.url);
      expect((await caller.unary({})).status.code).toBe(status.UNAVAILABLE);
      await waitFor(() => reason.test(between.counters.lastUpstreamError ?? ''));
      caller.close();
      await between.close();
      await secure.close();
    },
  );
});
