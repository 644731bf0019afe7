import { readFileSync } from 'node:fs';
import { connectivityState, credentials, Metadata, status } from '@grpc/grpc-js';
import { captureLeaks, ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import type { ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { settled } from '../calls/support.js';
import { repeatUntil } from '../support/repeat-until.js';
import { certificate, ORDERS_PROTO } from '../support/orders-app.js';
import { ECHO_PROTO, EchoClient } from './echo-client.js';
import type { EchoRequest } from './echo-client.js';

describe('ScriptedGrpcServer', () => {
  let leaks: ReturnType<typeof captureLeaks>;
  let server: ScriptedGrpcServer;
  let client: EchoClient;

  beforeEach(async () => {
    leaks = captureLeaks();
    server = await ScriptedGrpcServer.start({ protoPath: ECHO_PROTO, package: 'testing.v1' });
    client = new EchoClient(server.url);
  });
  afterEach(async () => {
    client.close();
    await server.close();
    await leaks.settled();
  });

  describe('replies', () => {
    it('responds with the message of a script, or with an empty message by default', async () => {
      server.script('Unary', { message: { text: 'hello' } });
      expect((await client.unary({})).value).toMatchObject({ text: 'hello' });
      server.script('Unary', {});
      expect((await client.unary({})).value).toEqual({});
    });

    it('fails a call with UNIMPLEMENTED if the method has no script', async () => {
      expect((await client.unary({})).status).toMatchObject({
        code: status.UNIMPLEMENTED,
        details: 'no script is set for /testing.v1.Echo/Unary; set a script with script() or the scripts option',
      });
    });

    it('uses one reply of a script list per call, repeats the last one, and starts over with a new list', async () => {
      const list = [{ status: 'UNAVAILABLE' }, { status: 'ABORTED' }, { message: { text: 'ok' } }] as const;
      const codes = async (count: number) => {
        const seen = [];
        for (let i = 0; i < count; i += 1) seen.push((await client.unary({})).status.code);
        return seen;
      };
      server.script('Unary', list);
      expect(await codes(4)).toEqual([14, 10, 0, 0]);
      server.script('Unary', list);
      expect(await codes(2)).toEqual([14, 10]);
    });

    it('calls a script function for each call with the request and number of the call', async () => {
      server.script<EchoRequest>('Unary', async ({ request, number }) => ({
        message: { text: `${request.text} ${number}` },
      }));
      const texts = [];
      for (const text of ['a', 'b']) texts.push((await client.unary({ text })).value?.text);
      expect(texts).toEqual(['a 1', 'b 2']);
    });

    it('fails a call with a trailers-only response that contains the details and trailers of a script', async () => {
      server.script('Unary', {
        status: 'FAILED_PRECONDITION',
        details: 'not böse',
        trailers: { 'x-why': ['one', 'two'], 'x-raw-bin': Buffer.from([1, 2]) },
      });
      const { headers, status: end } = await client.unary({});
      expect(headers).toBeUndefined();
      expect(end).toMatchObject({ code: status.FAILED_PRECONDITION, details: 'not böse' });
      expect(end.metadata.get('x-why')).toEqual(['one, two']);
      expect(end.metadata.get('x-raw-bin')).toEqual([Buffer.from([1, 2])]);
    });

    it('sends the response headers of a script before it fails the call', async () => {
      server.script('Unary', { headers: { 'x-early': 'yes' }, status: 'UNAVAILABLE' });
      const { headers, status: end } = await client.unary({});
      expect(headers?.get('x-early')).toEqual(['yes']);
      expect(end).toMatchObject({ code: status.UNAVAILABLE, details: 'UNAVAILABLE' });
    });

    it.each([
      ['any string', 'soon', ['soon']],
      ['several values', ['100', 10], ['100, 10']],
    ])('sends %s as the pushback of a script', async (_, pushback, expected) => {
      server.script('Unary', { status: 'UNAVAILABLE', pushback });
      expect((await client.unary({})).status.metadata.get('grpc-retry-pushback-ms')).toEqual(expected);
    });

    it('sends a status code of a script even if the code is invalid', async () => {
      server.script('Unary', { status: 99, details: 'odd' });
      expect((await client.unary({})).status).toMatchObject({ code: 99, details: 'odd' });
    });

    it('delays the response of a script by delayMs', async () => {
      server.script('Unary', { delayMs: 100, message: { text: 'late' } });
      const startedAt = performance.now();
      expect((await client.unary({})).value?.text).toBe('late');
      // Node's timers may fire up to 1 ms early.
      expect(performance.now() - startedAt).toBeGreaterThanOrEqual(99);
    });

    it('stops a delay of a script when its call is cancelled', async () => {
      server.script('Unary', { delayMs: 3_600_000 });
      const ended = client.unary({}, { deadline: Date.now() + 50 });
      expect((await ended).status.code).toBe(status.DEADLINE_EXCEEDED);
    });

    it('records a call as cancelled if the script never responds and the deadline passes', async () => {
      server.script('Unary', { never: true });
      await repeatUntil('the server receives the call before its deadline', async () => {
        const { status: end } = await client.unary({}, { deadline: Date.now() + 100 });
        expect(end.code).toBe(status.DEADLINE_EXCEEDED);
        return server.counts('Unary').calls > 0;
      });
      await waitFor(() => server.counts('Unary').open === 0);
      expect(server.calls('Unary')[0]).toMatchObject({ outcome: 'cancelled', code: undefined });
    });

    it('holds a whole script reply until release()', async () => {
      server.script('Unary', { hold: 'everything', message: { text: 'free' } });
      const answers = Promise.all([client.unary({}), client.unary({})]);
      await waitFor(() => server.heldCount('Unary') === 2);
      expect(server.release('Unary')).toBe(2);
      expect((await answers).map(({ value }) => value?.text)).toEqual(['free', 'free']);
      expect(server.heldCount()).toBe(0);
    });

    it('sends the headers and holds the messages, or sends the messages and holds the status, as `hold` requires', async () => {
      const headersOf = (stream: ReturnType<typeof client.serverStream>) =>
        new Promise((resolve) => stream.call.on('metadata', resolve));
      server.script('ServerStream', { headers: true, hold: 'messages', messages: [{ number: 1 }] });
      const first = client.serverStream({});
      await headersOf(first);
      expect(first.messages).toEqual([]);
      await waitFor(() => server.release() === 1);
      expect((await first.ended).code).toBe(status.OK);
      server.script('ServerStream', { hold: 'status', messages: [{ number: 1 }], status: 'ABORTED' });
      const second = client.serverStream({});
      await waitFor(() => second.messages.length === 1 && server.heldCount() === 1);
      server.release();
      expect((await second.ended).code).toBe(status.ABORTED);
    });

    it('streams the messages of a script at an interval and ends with a status and trailers', async () => {
      const messages = [1, 2, 3].map((number) => ({ number }));
      server.script('ServerStream', { messages, intervalMs: 30, status: 'DATA_LOSS', trailers: { 'x-last': '3' } });
      const startedAt = performance.now();
      const stream = client.serverStream({});
      const end = await stream.ended;
      expect(performance.now() - startedAt).toBeGreaterThanOrEqual(87);
      expect(end.code).toBe(status.DATA_LOSS);
      expect(end.metadata.get('x-last')).toEqual(['3']);
      expect(stream.messages.map(({ number }) => number)).toEqual([1, 2, 3]);
    });

    it('applies flow control to the endless messages of a script', async () => {
      let made = 0;
      const endless = function* () {
        for (;;) {
          made += 1;
          yield { payload: Buffer.alloc(64 * 1024) };
        }
      };
      server.script('ServerStream', { messages: endless });
      const { call, ended } = client.serverStream({});
      call.pause();
      await waitFor(() => made > 0);
      expect(await settled(() => made)).toBeLessThan(200);
      call.cancel();
      expect((await ended).code).toBe(status.CANCELLED);
      await waitFor(() => server.counts('ServerStream').cancelled === 1);
    });

    it('reads a request stream to its end before it sends the reply of a script', async () => {
      server.script('ClientStream', { message: { text: 'got all' } });
      expect(await client.clientStream([{ number: 1 }, { number: 2 }, { number: 3 }])).toMatchObject({
        text: 'got all',
      });
      expect(server.calls('ClientStream')[0]?.requests).toMatchObject([{ number: 1 }, { number: 2 }, { number: 3 }]);
    });

    it('lets a script respond to each request of a bidi stream', async () => {
      server.script<EchoRequest>('Bidi', {
        messages: async function* (call: ScriptedCall<EchoRequest>) {
          for await (const { number } of call.requests) yield { number: (number ?? 0) * 2 };
        },
      });
      const stream = client.bidi();
      stream.call.write({ number: 1 });
      await waitFor(() => stream.messages.length === 1);
      stream.call.write({ number: 2 });
      stream.call.end();
      expect((await stream.ended).code).toBe(status.OK);
      expect(stream.messages.map(({ number }) => number)).toEqual([2, 4]);
    });

    it("leaves requests unread if `requests` of a script is 'leave', so that the client must wait", async () => {
      server.script('Bidi', { never: true, requests: 'leave' });
      const { call, ended } = client.bidi();
      await waitFor(() => server.counts('Bidi').open === 1);
      await waitFor(() => {
        for (let i = 0; i < 100; i += 1) call.write({ payload: Buffer.alloc(64 * 1024) });
        return call.writableLength > 20;
      });
      expect(server.calls('Bidi')[0]?.requests).toEqual([]);
      call.cancel();
      await ended;
    });

    it('converts an error thrown by a script to a status', async () => {
      server.script('Unary', () => {
        throw new Error('boom');
      });
      expect((await client.unary({})).status).toMatchObject({
        code: status.INTERNAL,
        details: 'script of /testing.v1.Echo/Unary threw Error: boom',
      });
      server.script('ServerStream', {
        messages: function* () {
          yield { number: 1 };
          throw Object.assign(new Error('x'), { code: status.ABORTED, details: 'by hand' });
        },
      });
      const stream = client.serverStream({});
      expect(await stream.ended).toMatchObject({ code: status.ABORTED, details: 'by hand' });
      expect(stream.messages).toHaveLength(1);
    });
  });

  describe('journal', () => {
    it('records the calls of a ScriptedGrpcServer with their requests and grpc-previous-rpc-attempts', async () => {
      server.script('Unary', [{ status: 'UNAVAILABLE' }, { message: {} }]);
      const again = new Metadata();
      again.set('grpc-previous-rpc-attempts', '1');
      await client.unary({});
      await client.unary({ text: 'second' }, { metadata: again });
      await client.unary({});
      expect(server.counts('Unary')).toEqual({
        calls: 3,
        open: 0,
        maxOpen: 1,
        answered: 3,
        cancelled: 0,
        disconnected: 0,
      });
      expect(server.calls('Unary')[1]).toMatchObject({
        path: '/testing.v1.Echo/Unary',
        previousAttempts: 1,
        requests: [{ text: 'second' }],
        outcome: 'answered',
        code: 0,
      });
      server.reset();
      expect(server.counts()).toMatchObject({ calls: 0, answered: 0 });
    });

    it('counts the open and cancelled streams of a ScriptedGrpcServer', async () => {
      server.script('Bidi', { never: true });
      const streams = [client.bidi(), client.bidi(), client.bidi()];
      await waitFor(() => server.counts('Bidi').open === 3);
      for (const { call } of streams) call.cancel();
      await waitFor(() => server.counts('Bidi').open === 0);
      expect(server.counts('Bidi')).toMatchObject({ calls: 3, maxOpen: 3, cancelled: 3, disconnected: 0 });
    });

    it('aborts the signal of a script when the deadline of its call passes', async () => {
      let signal: AbortSignal | undefined;
      server.script('Unary', (call) => {
        signal = call.signal;
        return { never: true };
      });
      await repeatUntil('the server receives the call before its deadline', async () => {
        await client.unary({}, { deadline: Date.now() + 80 });
        return signal;
      });
      await waitFor(() => signal?.aborted);
    });
  });

  describe('stopping', () => {
    beforeEach(() => server.script('Unary', {}).script('UnsafeUnary', { hold: 'everything' }));

    const held = async () => {
      const answer = client.unary({}, { method: 'UnsafeUnary' });
      await waitFor(() => server.heldCount() === 1);
      return { answer };
    };

    it('lets calls in flight finish on a graceful stop of a ScriptedGrpcServer, refuses new calls, and restarts on the same port', async () => {
      const { answer } = await held();
      const { port } = server;
      const stopped = server.stop('graceful');
      await waitFor(() => client.state === connectivityState.IDLE);
      expect((await client.unary({})).status.details).toContain('ECONNREFUSED');
      server.release();
      expect((await answer).status.code).toBe(status.OK);
      await stopped;
      await server.restart();
      expect(server.port).toBe(port);
      await waitFor(async () => (await client.unary({})).error === undefined);
    });

    it('serves new connections after a restart while a graceful stop of a ScriptedGrpcServer still waits for calls', async () => {
      const { answer } = await held();
      const stopped = server.stop('graceful');
      await server.restart();
      await waitFor(async () => (await client.unary({})).error === undefined);
      expect(server.heldCount()).toBe(1);
      server.release();
      expect((await answer).status.code).toBe(status.OK);
      await stopped;
    });

    it('ends calls in flight with CANCELLED on a forced stop of a ScriptedGrpcServer, as grpc-js does', async () => {
      const { answer } = await held();
      await server.stop('force');
      expect((await answer).status).toMatchObject({ code: status.CANCELLED, details: 'Call cancelled' });
      expect(server.running).toBe(false);
      await waitFor(() => server.counts('UnsafeUnary').disconnected === 1);
    });

    it('ends the calls that a graceful stop of a ScriptedGrpcServer still awaits, if the server is restarted and then stopped by force', async () => {
      const { answer } = await held();
      const stopped = server.stop('graceful');
      await server.restart();
      await server.stop('force');
      expect((await answer).status).toMatchObject({ code: status.CANCELLED, details: 'Call cancelled' });
      await stopped;
      expect(server.running).toBe(false);
    });

    it('ends calls in flight with "Connection dropped" when a ScriptedGrpcServer stops with kill-connections', async () => {
      const { answer } = await held();
      await server.stop('kill-connections');
      expect((await answer).status).toMatchObject({ code: status.UNAVAILABLE, details: 'Connection dropped' });
      expect(server.counts('UnsafeUnary').disconnected).toBe(1);
      await server.restart();
      await waitFor(async () => (await client.unary({})).error === undefined);
      expect(server.connections).toEqual({ accepted: 2, open: 1 });
    });

    it.each(['before', 'during'])(
      'rejects restart() if the ScriptedGrpcServer is closed %s the restart',
      async (when) => {
        if (when === 'before') await server.close();
        const refused = expect(server.restart()).rejects.toThrow(
          'ScriptedGrpcServer is closed; write await ScriptedGrpcServer.start(options)',
        );
        await server.close();
        await refused;
        expect(server.running).toBe(false);
      },
    );

    it('drains the connections of a ScriptedGrpcServer without closing the port', async () => {
      await client.unary({});
      server.drainConnections(10_000);
      await waitFor(() => client.state === connectivityState.IDLE);
      expect((await client.unary({})).error).toBeUndefined();
      expect(server.connections.accepted).toBe(2);
    });
  });

  it('serves TLS with a ScriptedGrpcServer, and requires client certificates if the server has a CA', async () => {
    const pem = (name: string) => readFileSync(certificate(name));
    const secure = await ScriptedGrpcServer.start({
      protoPath: ECHO_PROTO,
      tls: { key: pem('server-key'), cert: pem('server'), ca: pem('ca') },
      scripts: { Unary: { message: { text: 'secret' } } },
    });
    const known = new EchoClient(secure.url, credentials.createSsl(pem('ca'), pem('client-key'), pem('client')));
    expect((await known.unary({})).value?.text).toBe('secret');
    const unknown = new EchoClient(secure.url, credentials.createSsl(pem('ca')));
    expect((await unknown.unary({})).status.code).toBe(status.UNAVAILABLE);
    known.close();
    unknown.close();
    await secure.close();
  });

  describe('wrong input', () => {
    const script = String.raw`ScriptedGrpcServer.scripts["/testing.v1.Echo/Unary"]`;
    /** Sets a script without a type check, as in JavaScript or after a cast. */
    const setScript = (wrong: unknown, method = 'Unary') => server.script(method, wrong as never);

    it.each([
      [{ message: 'hello' }, '.message: expected an object with fields of EchoMessage, got "hello"'],
      [{ messages: [{}, { order: 7 }] }, '.messages[1].order: unknown field of EchoMessage; known fields:'],
    ])('rejects the script %o with an error that describes the problem', (wrong, message) => {
      expect(() => setScript(wrong)).toThrow(script + message);
    });

    it.each([
      [{ sequence: 'abc' }, '.sequence: expected an integer, got "abc"; the server would send 0 instead'],
      [{ order: { request_id: 'a' } }, ".order.request_id: unknown field of Order; did you mean 'requestId'?"],
      [{ order: [] }, '.order: expected an object with'],
    ])('rejects the scripted message %o, because a value would not be sent', async (message, problem) => {
      const orders = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
      try {
        expect(() => orders.script('Watch', { messages: [message] })).toThrow(`.messages[0]${problem}`);
        expect(() =>
          orders.script('Watch', { messages: [{ sequence: '7', order: { requestId: 'a' } }] }),
        ).not.toThrow();
      } finally {
        await orders.close();
      }
    });

    it('fails a call with an error that describes the invalid reply of a script function', async () => {
      setScript(async () => ({ message: { order: 7 } }));
      expect((await client.unary({})).status.details).toBe(
        `${script}().message.order: unknown field of EchoMessage; known fields: text, number, payload`,
      );
    });

    it('fails a stream with an error that describes the invalid message of an iterable', async () => {
      const messages = () => [{ number: 1 }, { numbr: 2 }].values();
      for (const generated of [messages, { [Symbol.iterator]: messages }]) {
        setScript({ messages: generated }, 'ServerStream');
        const stream = client.serverStream({});
        expect(await stream.ended).toMatchObject({
          code: status.INTERNAL,
          details:
            'ScriptedGrpcServer.scripts["/testing.v1.Echo/ServerStream"].messages[1].numbr: ' +
            "unknown field of EchoMessage; did you mean 'number'?",
        });
        expect(stream.messages).toMatchObject([{ number: 1 }]);
      }
    });

    it('checks the replies of a script list when they are set, not when a call arrives', async () => {
      const message = { text: 'hello' };
      server.script('Unary', [{ message }]);
      // After this change, a check of the message would fail.
      Object.assign(message, { txt: 'an unknown field' });
      expect((await client.unary({})).value).toMatchObject({ text: 'hello' });
      expect(() => server.script('Unary', [{ message }])).toThrow(/txt: unknown field/);
    });

    it.each([
      [{ protoPath: 'nowhere.proto' }, '.protoPath: expected an existing file, got "nowhere.proto" (resolved to '],
      [
        { protoPath: ECHO_PROTO, package: 'testing.v2' },
        ".package: expected a package with a service, got 'testing.v2'",
      ],
    ])('rejects the options %o of ScriptedGrpcServer.start()', async (wrong, message) => {
      await expect(ScriptedGrpcServer.start(wrong as never)).rejects.toThrow(`ScriptedGrpcServer${message}`);
    });

    it('rejects an invalid certificate of a ScriptedGrpcServer at its start', async () => {
      const tls = { key: 'k.pem', cert: 'c.pem' };
      await expect(ScriptedGrpcServer.start({ protoPath: ECHO_PROTO, tls })).rejects.toThrow(/PEM/);
    });

    it('accepts script replies with several values of a header, undefined values, messages in a Set or an iterator, and reserved trailers', async () => {
      const headers = { one: ['a', 'b'], none: undefined };
      const trailers = { 'grpc-status-details-bin': Buffer.from('x') };
      setScript({ message: undefined, status: -1, headers, trailers, delayMs: 0, pushback: [1, 'x'], hold: undefined });
      expect((await client.unary({})).headers?.get('one')).toEqual(['a, b']);
      setScript({ messages: new Set([{ number: 1 }]), headers: new Metadata() }, 'ServerStream');
      const stream = client.serverStream({});
      await stream.ended;
      expect(stream.messages).toMatchObject([{ number: 1 }]);
      setScript([{ messages: [{ number: 1 }].values() }, {}], 'ServerStream');
      const once = client.serverStream({});
      await once.ended;
      expect(once.messages).toMatchObject([{ number: 1 }]);
      const { scripts } = { scripts: { Unary: undefined as never } };
      await (await ScriptedGrpcServer.start({ protoPath: ECHO_PROTO, package: undefined, scripts })).close();
    });
  });
});
