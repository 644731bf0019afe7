import { connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { Controller } from '@nestjs/common';
import { GrpcMethod, GrpcStreamCall, GrpcStreamMethod, RpcException } from '@nestjs/microservices';
import { status as Code } from '@grpc/grpc-js';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import {
  EMPTY,
  NEVER,
  Subject,
  finalize,
  firstValueFrom,
  ignoreElements,
  map,
  of,
  toArray,
  type Observable,
} from 'rxjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { repeatUntil } from '../../support/repeat-until.js';
import { ParityClient, notes, numbers, received, type Note } from './client.js';
import { startServer, type RunningServer } from './servers.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** The ways in which a handler may answer a method that answers once. */
const ANSWERS: Record<string, () => Observable<Partial<Note> | undefined>> = {
  never: () => NEVER,
  empty: () => EMPTY,
  'two at once': () => of({ number: 1 }, { number: 2 }),
};

@Controller()
class BeyondController {
  /** Observables of handlers that are over. */
  over = 0;
  began = 0;
  requests: (number | 'completed')[] = [];

  @GrpcMethod('Kinds', 'Unary')
  unary({ text }: Note) {
    this.began++;
    return ANSWERS[text]?.().pipe(finalize(() => this.over++));
  }

  @GrpcMethod('Kinds', 'Watch')
  watch(note: Note) {
    return of({ number: note.number }, ...(note.number === 2 ? [null] : []));
  }

  @GrpcStreamMethod('Kinds', 'Collect')
  async collect(requests: Observable<Note>, metadata: { get(key: string): unknown[] }) {
    const [as] = metadata.get('as');
    if (as === 'empty') return requests.pipe(ignoreElements());
    // Nest's server gives no requests before the handler is done, which waits for them here.
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
    // As Nest's documentation has it: a subscription that nobody ends but the requests themselves.
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

// What is not as with Transport.GRPC, each because that is a trap.
describe('ResilientGrpcServer, where it is meant to differ', () => {
  let server: RunningServer;
  let client: ParityClient;
  let handlers: BeyondController;
  /** What the next call waits for before its handler. */
  let hold: Promise<void> | undefined;

  beforeAll(async () => {
    server = await startServer({
      which: 'ResilientGrpcServer',
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
    client = new ParityClient(server.url);
    handlers = server.app.get(BeyondController);
  });
  beforeEach(() => {
    handlers.over = 0;
    handlers.began = 0;
  });
  afterAll(async () => {
    client.close();
    await server.close();
  });

  describe('a handler that answers once', () => {
    it('is unsubscribed from when its caller cancels', async () => {
      const call = client.open(UNARY, { text: 'never' });
      await waitFor(() => handlers.began === 1);
      call.cancel();
      await waitFor(() => handlers.over === 1);
      expect((await call.ended).status.code).toBe(Code.CANCELLED);
    });

    it('is unsubscribed from when its deadline passes', async () => {
      await repeatUntil('the handler begins before the deadline', async () => {
        const call = client.open(UNARY, { text: 'never' }, { deadlineMs: 150 });
        expect((await call.ended).status.code).toBe(Code.DEADLINE_EXCEEDED);
        return handlers.began > 0;
      });
      // The server receives the calls of a connection in order: the handlers of all calls above have begun.
      await client.call('parity.v1.Kinds/Watch', { number: 1 });
      await waitFor(() => handlers.over >= handlers.began);
      expect(handlers.over).toBe(handlers.began);
    });

    it.each([
      ['without an answer', 'empty', /completed without a response/],
      ['with two answers', 'two at once', /emitted a second response/],
    ])('ends INTERNAL %s', async (_what, text, details) => {
      const { messages, status } = await client.call(UNARY, { text });
      expect(messages).toEqual([]);
      expect(status).toMatchObject({ code: Code.INTERNAL, details: expect.stringMatching(details) });
      expect(status.details).toContain(UNARY);
    });

    it('ends INTERNAL without an answer to a stream of requests', async () => {
      const { status } = await client.call('parity.v1.Kinds/Collect', notes(2), { metadata: { as: 'empty' } });
      expect(status).toMatchObject({ code: Code.INTERNAL, details: expect.stringContaining('without a response') });
    });
  });

  it('answers a stream of requests with an empty message when there is nothing to give', async () => {
    const answer = await client.call('parity.v1.Kinds/ForgetAll', notes(2), { deadlineMs: 20_000 });
    expect(answer).toMatchObject({ messages: [{}], status: { code: Code.OK } });
  });

  it('ends INTERNAL when a stream of answers gives null, and lives', async () => {
    const { messages, status } = await client.call('parity.v1.Kinds/Watch', { number: 2 });
    expect(numbers({ messages })).toEqual([2]);
    expect(status.code).toBe(Code.INTERNAL);
  });

  it.each(['parity.v1.Calls/Chat', 'parity.v1.Calls/Collect'])(
    'ends %s with what its handler throws, which works on the call',
    async (method) => {
      const { status } = await client.call(method, notes(1), { deadlineMs: 20_000 });
      expect(status).toMatchObject({ code: Code.OUT_OF_RANGE, details: 'thrown at once' });
    },
  );

  describe('requests', () => {
    /** Calls and sends so many requests while a guard holds the call. */
    async function early(count: number, finish: boolean) {
      let letGo: (() => void) | undefined;
      hold = new Promise((resolve) => {
        letGo = resolve;
      });
      const call = client.open(CHAT);
      await Promise.all(notes(count).map((note) => call.send(note)));
      if (finish) call.finish();
      await waitFor(() => hold === undefined);
      return { call, letGo: letGo! };
    }

    it('keep their order though some come in the moment in which the handler begins', async () => {
      const { call, letGo } = await early(5, false);
      // They are parsed one a turn: by now some are here, and some are not.
      await client.call('parity.v1.Kinds/Watch', { number: 1 });
      letGo();
      await received(call, 5);
      expect(numbers(call)).toEqual([1, 2, 3, 4, 5]);
      call.finish();
      await call.ended;
    });

    it('are all given to a handler that begins after their end', async () => {
      const { call, letGo } = await early(5, true);
      for (let i = 0; i < 10; i++) await client.call('parity.v1.Kinds/Watch', { number: 1 });
      letGo();
      expect(numbers(await call.ended)).toEqual([1, 2, 3, 4, 5]);
      expect(handlers.requests).toEqual([1, 2, 3, 4, 5, 'completed']);
    });

    it('are given to a handler that waits for them before it answers', async () => {
      expect(numbers(await client.call('parity.v1.Kinds/Collect', notes(3), { deadlineMs: 20_000 }))).toEqual([3]);
    });

    it('complete when the caller cancels', async () => {
      const call = client.open(CHAT);
      await call.send({ number: 1 });
      await received(call, 1);
      call.cancel();
      await waitFor(() => handlers.requests.includes('completed'));
    });

    it('complete when the connection is lost', async () => {
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

    it('complete when the deadline passes', async () => {
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
