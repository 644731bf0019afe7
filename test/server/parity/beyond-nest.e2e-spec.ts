import { connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { Controller } from '@nestjs/common';
import { GrpcMethod, GrpcStreamCall, GrpcStreamMethod, RpcException } from '@nestjs/microservices';
import { status as Code, type ServerWritableStream } from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { EMPTY, Subject, firstValueFrom, ignoreElements, map, of, toArray, type Observable } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { repeatUntil } from '../../support/repeat-until.js';
import { notes, numbers, received, type Note, type ParityClient } from './client.js';
import { startServer, type RunningServer } from './servers.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** Functions that create the Observable that the unary handler returns, keyed by the request text. */
const ANSWERS: Record<string, () => Observable<Partial<Note> | undefined>> = {
  empty: () => EMPTY,
  'two at once': () => of({ number: 1 }, { number: 2 }),
};

@Controller()
class BeyondController {
  requests: (number | 'completed')[] = [];

  @GrpcMethod('Kinds', 'Unary')
  unary({ text }: Note) {
    return ANSWERS[text]?.();
  }

  @GrpcMethod('Kinds', 'Watch')
  watch(note: Note) {
    return of({ number: note.number }, ...(note.number === 2 ? [null] : []));
  }

  @GrpcStreamMethod('Kinds', 'Collect')
  async collect(requests: Observable<Note>, metadata: { get(key: string): unknown[] }) {
    const [as] = metadata.get('as');
    if (as === 'empty') return requests.pipe(ignoreElements());
    // On Nest's server, this handler would wait forever: it receives no requests before it returns.
    const all = await firstValueFrom(requests.pipe(toArray()));
    return { number: all.length };
  }

  @GrpcStreamMethod('Kinds', 'ForgetAll')
  forgetAll(requests: Observable<Note>) {
    return requests.pipe(
      toArray(),
      map(() => undefined),
    );
  }

  @GrpcStreamMethod('Kinds', 'Chat')
  chat(requests: Observable<Note>) {
    const seen: typeof this.requests = [];
    this.requests = seen;
    // As in Nest's documentation, only the end of the requests ends this subscription.
    const answers = new Subject<Partial<Note>>();
    requests.subscribe({
      next: ({ number }) => {
        seen.push(number);
        answers.next({ number });
      },
      complete: () => {
        seen.push('completed');
        answers.complete();
      },
    });
    return answers;
  }

  @GrpcStreamCall('Calls', 'Chat')
  thrown(): void {
    throw new RpcException({ code: Code.OUT_OF_RANGE, message: 'thrown at once' });
  }

  @GrpcStreamCall('Calls', 'Collect')
  async rejected(): Promise<void> {
    throw new RpcException({ code: Code.OUT_OF_RANGE, message: 'thrown at once' });
  }
}

const UNARY = 'parity.v1.Kinds/Unary';
const CHAT = 'parity.v1.Kinds/Chat';

// Intended differences from Transport.GRPC, whose behavior is error-prone in each of these cases.
describe('ResilientGrpcServer, intended differences', () => {
  let server: RunningServer;
  let client: ParityClient;
  let handlers: BeyondController;
  /** Promise that the guard of the next call awaits before the handler runs. */
  let hold: Promise<void> | undefined;

  beforeAll(async () => {
    server = await startServer({
      serverKind: 'ResilientGrpcServer',
      controllers: [BeyondController],
      inheritAppConfig: true,
      configure: (app) => {
        app.useGlobalGuards({
          canActivate: async () => {
            const held = hold;
            hold = undefined;
            await held;
            return true;
          },
        });
      },
    });
    ({ client } = server);
    handlers = server.app.get(BeyondController);
  });
  afterAll(() => server.close());

  describe('handler that sends a single response', () => {
    it.each([
      ['completes without a response', 'empty', /completed without a response/],
      ['emits two responses', 'two at once', /emitted a second response/],
    ])('fails a call with INTERNAL if its unary handler %s', async (_what, text, details) => {
      const { messages, status } = await client.call(UNARY, { text });
      expect(messages).toEqual([]);
      expect(status).toMatchObject({ code: Code.INTERNAL, details: expect.stringMatching(details) });
      expect(status.details).toContain(UNARY);
    });

    it('fails a call with INTERNAL if the handler of a request stream completes without a response', async () => {
      const { status } = await client.call('parity.v1.Kinds/Collect', notes(2), { metadata: { as: 'empty' } });
      expect(status).toMatchObject({ code: Code.INTERNAL, details: expect.stringContaining('without a response') });
    });
  });

  it('responds to a request stream with an empty message if the handler emits undefined and the message type has no fields', async () => {
    const answer = await client.call('parity.v1.Kinds/ForgetAll', notes(2), { deadlineMs: 20_000 });
    expect(answer).toMatchObject({ messages: [{}], status: { code: Code.OK } });
  });

  it('keeps the process running and ends a response stream with INTERNAL if the handler emits null', async () => {
    const { messages, status } = await client.call('parity.v1.Kinds/Watch', { number: 2 });
    expect(numbers({ messages })).toEqual([2]);
    expect(status.code).toBe(Code.INTERNAL);
  });

  it.each(['parity.v1.Calls/Chat', 'parity.v1.Calls/Collect'])(
    "ends %s, whose handler uses grpc-js's call, with the status of the exception that the handler throws",
    async (method) => {
      const { status } = await client.call(method, notes(1), { deadlineMs: 20_000 });
      expect(status).toMatchObject({ code: Code.OUT_OF_RANGE, details: 'thrown at once' });
    },
  );

  describe('requests', () => {
    it('delivers all requests to a handler that starts after the request stream has ended', async () => {
      let release: () => void = () => undefined;
      hold = new Promise((resolve) => {
        release = resolve;
      });
      const call = client.open(CHAT);
      await Promise.all(notes(5).map((note) => call.send(note)));
      call.finish();
      await waitFor(() => hold === undefined);
      for (let i = 0; i < 10; i++) await client.call('parity.v1.Kinds/Watch', { number: 1 });
      release();
      expect(numbers(await call.ended)).toEqual([1, 2, 3, 4, 5]);
      expect(handlers.requests).toEqual([1, 2, 3, 4, 5, 'completed']);
    });

    it('delivers requests to a handler that awaits them before it returns', async () => {
      expect(numbers(await client.call('parity.v1.Kinds/Collect', notes(3), { deadlineMs: 20_000 }))).toEqual([3]);
    });

    it('completes the request Observable when the client cancels', async () => {
      const call = client.open(CHAT);
      await call.send({ number: 1 });
      await received(call, 1);
      call.cancel();
      await waitFor(() => handlers.requests.includes('completed'));
    });

    it('completes the request Observable when the connection is lost', async () => {
      handlers.requests = [];
      const session = connect('http://localhost', {
        createConnection: () => connectSocket(server.url.slice('unix:'.length)),
      });
      const headers = { 'content-type': 'application/grpc', te: 'trailers' };
      const stream = session.request({ ':method': 'POST', ':path': `/${CHAT}`, ...headers });
      stream.on('error', () => undefined);
      // A Note whose number is 1.
      stream.write(Buffer.from([0, 0, 0, 0, 2, 0x10, 1]));
      await waitFor(() => handlers.requests.length === 1);
      session.destroy();
      await waitFor(() => handlers.requests.includes('completed'));
    });

    it('completes the request Observable when the deadline passes', async () => {
      await repeatUntil('the handler answers a request before the deadline', async () => {
        const call = client.open(CHAT, undefined, { deadlineMs: 150 });
        void call.send({ number: 1 });
        expect((await call.ended).status.code).toBe(Code.DEADLINE_EXCEEDED);
        return numbers(call).length > 0;
      });
      await waitFor(() => handlers.requests.includes('completed'));
      expect(handlers.requests).toEqual([1, 'completed']);
    });
  });
});

it('sends the messages that the handler of a response stream writes to the call itself, if it also ends the call', async () => {
  @Controller()
  class WritingController {
    @GrpcMethod('Kinds', 'Watch')
    watch({ text }: Note, _metadata: unknown, call: ServerWritableStream<Note, Partial<Note>>) {
      for (const number of [1, 2, 3]) call.write({ number });
      if (text !== 'open') call.end();
    }
  }
  const served = await startServer({ serverKind: 'ResilientGrpcServer', controllers: [WritingController] });
  const ended = await served.client.call('parity.v1.Kinds/Watch', {});
  expect([numbers(ended), ended.status.code]).toEqual([[1, 2, 3], Code.OK]);
  const { status } = await served.client.call('parity.v1.Kinds/Watch', { text: 'open' });
  expect(status).toMatchObject({
    code: Code.INTERNAL,
    details: 'The handler of /parity.v1.Kinds/Watch emitted undefined',
  });
  await served.close();
});

it('serves packages with the names `service` and `format` without the option `package`', async () => {
  @Controller()
  class Greeter {
    @GrpcMethod('acme.service.v1.Greeter', 'Greet')
    greet({ text }: Note) {
      return { text: `Hello ${text}` };
    }

    @GrpcMethod('acme.format.v1.Greeter', 'Greet')
    greetAgain({ text }: Note) {
      return { text: `Hi ${text}` };
    }
  }
  const note = { Note: { fields: { text: { type: 'string', id: 1 } } } };
  const greeter = { Greeter: { methods: { Greet: { requestType: 'Note', responseType: 'Note' } } }, ...note };
  // Cast to never, because the types of protobufjs do not allow nested packages.
  const v1 = { nested: { v1: { nested: greeter } } };
  const definition = fromJSON({ nested: { acme: { nested: { service: v1, format: v1 } } } } as never);
  const served = await startServer({
    serverKind: 'ResilientGrpcServer',
    controllers: [Greeter],
    options: { packageDefinition: definition, package: undefined as never },
    client: { definition },
  });
  const textOf = async (method: string) => (await served.client.call(method, { text: 'Ada' })).messages[0]?.text;
  expect(await textOf('acme.service.v1.Greeter/Greet')).toBe('Hello Ada');
  expect(await textOf('acme.format.v1.Greeter/Greet')).toBe('Hi Ada');
  await served.close();
});
