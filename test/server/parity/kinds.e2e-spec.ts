import { Metadata, status as Code } from '@grpc/grpc-js';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { repeatUntil } from '../../support/repeat-until.js';
import { notes, numbers, received, type ParityClient } from './client.js';
import { CallsController, KindsController } from './handlers.js';
import { SERVERS, startServer, type RunningServer } from './servers.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

describe.each(SERVERS)('%s: method kinds', (serverKind) => {
  let server: RunningServer;
  let client: ParityClient;
  let handlers: KindsController;

  beforeAll(async () => {
    server = await startServer({ serverKind, controllers: [KindsController, CallsController] });
    ({ client } = server);
    handlers = server.app.get(KindsController);
  });
  beforeEach(() => {
    handlers.begun = 0;
    handlers.over = 0;
  });
  afterAll(() => server.close());

  describe('unary method', () => {
    it.each(['plain', 'promise', 'observable', 'promise of an observable'])(
      'responds to a unary call with the return value of the handler (%s)',
      async (text) => {
        const { messages, status } = await client.call('parity.v1.Kinds/Unary', { text, number: 1 });
        expect(messages).toEqual([{ text, number: 2, payload: Buffer.alloc(0) }]);
        expect(status).toMatchObject({ code: Code.OK });
      },
    );

    it.each(['plain', 'nothing'])(
      'sends the date with the response or the error of a unary call (%s)',
      async (text) => {
        const { headers, status } = await client.call('parity.v1.Kinds/Unary', { text });
        const [date] = [headers, status.metadata].flatMap((metadata) => metadata?.get('date') ?? []);
        expect(String(date)).toBe(new Date(Date.parse(String(date))).toUTCString());
      },
    );

    it('responds to each of 50 concurrent calls with its own response', async () => {
      const calls = Array.from({ length: 50 }, (_, number) => client.call('parity.v1.Kinds/Unary', { number }));
      expect((await Promise.all(calls)).flatMap(numbers)).toEqual(
        Array.from({ length: 50 }, (_, number) => number + 1),
      );
    });

    it('responds with an empty message if the handler returns undefined and the message type has no fields', async () => {
      const { messages, status } = await client.call('parity.v1.Kinds/Forget');
      expect(messages).toEqual([{}]);
      expect(status.code).toBe(Code.OK);
      expect(handlers.over).toBe(1);
    });

    it('fails a call with INTERNAL if the handler returns undefined and the message type has fields', async () => {
      const { messages, status } = await client.call('parity.v1.Kinds/Unary', { text: 'nothing' });
      expect(messages).toEqual([]);
      expect(status.code).toBe(Code.INTERNAL);
    });

    it('responds to a unary call when the Observable of the handler emits, before the Observable completes', async () => {
      const call = client.open('parity.v1.Kinds/Unary', { text: 'released' });
      await waitFor(() => handlers.released.observed);
      handlers.released.next({ number: 7 });
      expect(numbers(await call.ended)).toEqual([7]);
      // Completes the Subject here, because the handler does not complete it.
      handlers.released.complete();
    });
  });

  describe('server-streaming method', () => {
    it.each(['observable', 'promise'])(
      'streams the values of a server-streaming handler in their original order (%s)',
      async (text) => {
        const answer = await client.call('parity.v1.Kinds/Watch', { text, number: 20 });
        expect(numbers(answer)).toEqual(numbers({ messages: notes(20) }));
        expect(answer.status.code).toBe(Code.OK);
      },
    );

    it('streams one message if a server-streaming handler returns a plain value', async () => {
      expect(numbers(await client.call('parity.v1.Kinds/Watch', { text: 'plain' }))).toEqual([1]);
    });

    it('ends a response stream with OK and no messages if the Observable is empty', async () => {
      expect(await client.call('parity.v1.Kinds/Watch', { number: 0 })).toMatchObject({
        messages: [],
        status: { code: Code.OK },
      });
    });

    it('delivers the messages that a response stream sends before an error, and then the error', async () => {
      const answer = await client.call('parity.v1.Kinds/Watch', { text: 'broken', number: 3 });
      expect(numbers(answer)).toEqual([1, 2, 3]);
      expect(answer.status).toMatchObject({ code: Code.DATA_LOSS, details: 'broken on request' });
    });

    it.each([
      ['ends with OK', 'all'],
      ['fails', 'broken'],
    ])(
      'delivers all messages in their original order to a pausing client if the response stream %s',
      async (_how, text) => {
        const request = { text, number: 100, payload: Buffer.alloc(65_536) };
        const call = client.open('parity.v1.Kinds/Watch', request, { stopsAfter: 1 });
        await received(call, 1);
        // A response on the same connection shows that only this stream is paused.
        await client.call('parity.v1.Kinds/Unary');
        expect(call.messages).toHaveLength(1);
        call.resume();
        const answer = await call.ended;
        expect(numbers(answer)).toEqual(numbers({ messages: notes(100) }));
        expect(answer.status.code).toBe(text === 'broken' ? Code.DATA_LOSS : Code.OK);
      },
    );

    it('delivers all messages of a response stream in their original order if its Observable is faster than the connection', async () => {
      const payload = Buffer.alloc(1_024 * 1_024);
      const answer = await client.call('parity.v1.Kinds/Watch', { text: 'a turn each', number: 100, payload });
      expect(numbers(answer)).toEqual(numbers({ messages: notes(100) }));
      expect(answer.status.code).toBe(Code.OK);
    });

    it('ends a response stream with INTERNAL if the Observable emits undefined', async () => {
      const answer = await client.call('parity.v1.Kinds/Watch', { text: 'nothing', number: 2 });
      expect(numbers(answer)).toEqual([1, 2]);
      expect(answer.status.code).toBe(Code.INTERNAL);
    });

    it('unsubscribes from the response Observable when the client cancels', async () => {
      const call = client.open('parity.v1.Kinds/Watch', { text: 'endless', number: 2 });
      await received(call, 2);
      expect(handlers.over).toBe(0);
      call.cancel();
      await waitFor(() => handlers.over === 1);
      expect((await call.ended).status.code).toBe(Code.CANCELLED);
    });

    it('unsubscribes from the response Observable when the deadline passes', async () => {
      await repeatUntil('the client receives both messages before the deadline', async () => {
        const call = client.open('parity.v1.Kinds/Watch', { text: 'endless', number: 2 }, { deadlineMs: 150 });
        expect((await call.ended).status.code).toBe(Code.DEADLINE_EXCEEDED);
        const got = numbers(call);
        expect(got).toEqual([1, 2].slice(0, got.length));
        return got.length === 2;
      });
      // When this call ends, the handlers of all earlier calls have started, because calls on one connection cannot overtake each other.
      await client.call('parity.v1.Kinds/Watch', { number: 2 });
      await waitFor(() => handlers.over >= handlers.begun);
      expect(handlers.over).toBe(handlers.begun);
    });
  });

  describe('client-streaming method', () => {
    it.each(['observable', 'promise'])(
      'responds to a request stream with the return value of the handler (%s)',
      async (as) => {
        const answer = await client.call('parity.v1.Kinds/Collect', notes(20), { metadata: { as } });
        expect(numbers(answer)).toEqual([20]);
        expect(handlers.requests).toEqual([...numbers({ messages: notes(20) }), 'completed']);
      },
    );

    it('accepts an empty request stream', async () => {
      expect(numbers(await client.call('parity.v1.Kinds/Collect', []))).toEqual([0]);
    });
  });

  describe('bidi-streaming method', () => {
    it('responds to a bidi stream while requests arrive, and ends it when the requests end', async () => {
      const call = client.open('parity.v1.Kinds/Chat');
      for (const number of [1, 2, 3]) {
        await call.send({ number });
        await received(call, number);
      }
      await call.send({ text: 'twice', number: 4 });
      call.finish();
      const answer = await call.ended;
      expect(numbers(answer)).toEqual([1, 2, 3, 4, 4]);
      expect(answer.status.code).toBe(Code.OK);
    });

    it('ends a bidi stream with the error of the handler while the request stream is still open', async () => {
      const call = client.open('parity.v1.Kinds/Chat');
      await call.send({ number: 1 });
      await call.send({ text: 'broken' });
      expect((await call.ended).status).toMatchObject({ code: Code.DATA_LOSS, details: 'broken on request' });
      expect(numbers(call)).toEqual([1]);
    });

    it('ends the response Observable of a bidi handler when the client cancels', async () => {
      const call = client.open('parity.v1.Kinds/Chat');
      await call.send({ number: 1 });
      await received(call, 1);
      call.cancel();
      await waitFor(() => handlers.over === 1);
    });
  });

  describe("handler that uses grpc-js's call object", () => {
    it("responds to a request stream with the message and the trailers that the handler passes to grpc-js's callback", async () => {
      const { messages, status } = await client.call('parity.v1.Calls/Collect', notes(4));
      expect(numbers({ messages })).toEqual([10]);
      expect(status.metadata.get('sum')).toEqual(['10']);
    });

    it("fails a request stream with the error and the trailers that the handler passes to grpc-js's callback", async () => {
      const { messages, status } = await client.call('parity.v1.Calls/Collect', [{ number: -1 }]);
      expect(messages).toEqual([]);
      expect(status).toMatchObject({ code: Code.OUT_OF_RANGE, details: 'below zero' });
      expect(status.metadata.get('sum')).toEqual(['-1']);
    });

    it("lets a handler read and write messages and send headers and trailers with grpc-js's call object", async () => {
      const call = client.open('parity.v1.Calls/Chat', undefined, { metadata: { sent: 'a' } });
      for (const number of [1, 2, 3]) {
        await call.send({ number });
        await received(call, number);
      }
      call.finish();
      const { messages, headers, status } = await call.ended;
      expect(numbers({ messages })).toEqual([2, 4, 6]);
      expect(headers?.get('seen')).toEqual(['a']);
      expect(status.code).toBe(Code.OK);
      expect(status.metadata.get('said')).toEqual(['all']);
    });
  });

  describe('metadata', () => {
    it.each([
      ['Kinds/Unary', { text: 'metadata' }],
      ['Kinds/Watch', { text: 'metadata', number: 1 }],
      ['Kinds/Collect', [{}]],
      ['Kinds/Chat', [{}]],
    ])('passes text and binary metadata to and from the handler of %s', async (method, requests) => {
      const metadata = { sent: 'a', 'sent-bin': Buffer.from([0, 255]) };
      const { headers, status } = await client.call(`parity.v1.${method}`, requests, { metadata });
      expect(status.code).toBe(Code.OK);
      expect(headers).toBeInstanceOf(Metadata);
      expect(headers?.get('seen')).toEqual(['a']);
      expect(headers?.get('seen-bin')).toEqual([Buffer.from([0, 255])]);
    });

    it("passes grpc-js's call with its path, deadline, and peer to the handler", async () => {
      const { messages } = await client.call('parity.v1.Kinds/Unary', { text: 'metadata' });
      expect(messages).toMatchObject([{ text: '/parity.v1.Kinds/Unary true string' }]);
    });
  });
});
