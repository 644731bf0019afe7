import { InterceptingCall, Metadata, status as Status, type Channel, type Interceptor } from '@grpc/grpc-js';
import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { AttemptEnd, AttemptRequest } from '../../call/attempt.js';
import type { MethodDescriptor } from '../../call/method.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { connectionRecord } from '../quirks/connection-record.js';
import { WireAttempt } from './wire-attempt.js';

const METHOD: MethodDescriptor = {
  path: '/testing.v1.Echo/Unary',
  service: 'testing.v1.Echo',
  method: 'Unary',
  kind: 'unary',
  requestStream: false,
  responseStream: false,
  declaredIdempotent: false,
  requestSerialize: (message) => Buffer.from(JSON.stringify(message)),
  responseDeserialize: (bytes) => JSON.parse(bytes.toString()) as unknown,
};

interface Listener {
  onReceiveMetadata(headers: Metadata): void;
  onReceiveMessage(message: unknown): void;
  onReceiveStatus(status: { readonly code: number; readonly details: string; readonly metadata: Metadata }): void;
}

/** A call of grpc-js that does nothing by itself. */
class FakeCall {
  /** The objects of grpc-js that `readWire` reads. */
  child: object | undefined;
  listener: Listener | undefined;
  metadata: Metadata | undefined;
  peer = '127.0.0.1:50051';
  readonly did: string[] = [];

  start(metadata: Metadata, listener: Listener): void {
    this.metadata = metadata;
    this.listener = listener;
    this.did.push('start');
  }
  sendMessageWithContext(context: { readonly callback?: () => void }, message: unknown): void {
    this.did.push(`send ${String(message)}`);
    context.callback?.();
  }
  startRead(): void {
    this.did.push('read');
  }
  halfClose(): void {
    this.did.push('half-close');
  }
  cancelWithStatus(code: number, details: string): void {
    this.did.push(`cancel ${code} ${details}`);
  }
  getPeer(): string {
    return this.peer;
  }
  setCredentials(): void {
    this.did.push('credentials');
  }
  end(code: number, details = '', metadata = new Metadata()): void {
    this.listener?.onReceiveStatus({ code, details, metadata });
  }
}

function make(change: Partial<AttemptRequest> = {}) {
  const clock = new VirtualClock();
  const call = new FakeCall();
  const created: unknown[][] = [];
  const owner = {
    channel: {
      createCall: (...args: unknown[]) => {
        created.push(args);
        return call;
      },
      getTarget: () => 'dns:orders:50051',
    } as unknown as Channel,
    ready: true,
    ended: 0,
    isUndecided: false,
    answered: [] as number[],
    answeredTo: (_peer: string | undefined, startedAt: number) => void owner.answered.push(startedAt),
    callCreated: () => {},
    attemptEnded: () => void (owner.ended += 1),
    tooLong: [] as { peer: string | undefined; startedAt: number; waitedMs: number }[],
    timedOut: (peer: string | undefined, startedAt: number, waitedMs: number) =>
      void owner.tooLong.push({ peer, startedAt, waitedMs }),
    checkSeams: () => undefined,
  };
  const told: string[] = [];
  const ends: AttemptEnd[] = [];
  const request: AttemptRequest = {
    method: METHOD,
    deadline: Infinity,
    metadata: new Metadata(),
    options: undefined,
    interceptors: undefined,
    number: 1,
    mayRepeat: false,
    maxReceiveBytes: Infinity,
    ...change,
  };
  const attempt = new WireAttempt(
    owner,
    request,
    {
      onHeaders: () => told.push('headers'),
      onMessage: (message) => told.push(`message ${JSON.stringify(message)}`),
      onEnd: (end) => {
        told.push('end');
        ends.push(end);
      },
    },
    clock,
    clock.now(),
  );
  return { clock, call, owner, created, told, ends, attempt, request };
}

const grpcHeaders = (): Metadata => {
  const headers = new Metadata();
  headers.set('content-type', 'application/grpc+proto');
  return headers;
};

describe('an attempt', () => {
  it('is one call of the channel, which it starts at once', () => {
    const { created, call, request } = make({ deadline: 1_000 });
    expect(created).toEqual([[METHOD.path, 1_000, undefined, null, undefined]]);
    expect(call.metadata).toBe(request.metadata);
    expect(call.did).toEqual(['start']);
  });

  it.each([
    ['an answer of trailers alone', grpcHeaders(), 1],
    ['a status that no server sent', new Metadata(), 0],
  ])('clears a connection in doubt, or not: %s', (_what, metadata, times) => {
    const { owner, call } = make();
    owner.isUndecided = true;
    call.end(Status.NOT_FOUND, 'there is none', metadata);
    expect(owner.answered).toHaveLength(times);
  });

  it('hands on the options of grpc-js', () => {
    const parent = new EventEmitter() as never;
    const { created, call } = make({
      options: { host: 'orders.internal', parent, propagate_flags: 3, credentials: {} as never },
    });
    expect(created).toEqual([[METHOD.path, Infinity, 'orders.internal', parent, 3]]);
    expect(call.did).toEqual(['credentials', 'start']);
  });

  it('tells headers, messages and its end, and how far it got', () => {
    const { call, told, ends, owner } = make();
    call.listener?.onReceiveMetadata(grpcHeaders());
    call.listener?.onReceiveMessage(Buffer.from('{"number":1}'));
    const trailers = new Metadata();
    call.end(5, 'none', trailers);
    expect(told).toEqual(['headers', 'message {"number":1}', 'end']);
    expect(ends[0]).toMatchObject({
      code: 5,
      details: 'none',
      picked: true,
      channelReady: true,
      endedHere: 'no',
      headersReceived: true,
      messagesReceived: 1,
      contentType: 'application/grpc+proto',
      peer: '127.0.0.1:50051',
    });
    expect(ends[0]?.metadata).toBe(trailers);
    expect(owner.ended).toBe(1);
  });

  it('takes the content-type of an answer without headers from its trailers', () => {
    const { call, ends } = make();
    call.end(5, 'none', grpcHeaders());
    expect(ends[0]).toMatchObject({ headersReceived: false, contentType: 'application/grpc+proto' });
  });

  it('has no peer and was not picked if grpc-js returns the target as its peer', () => {
    const { call, ends, owner } = make();
    call.peer = 'dns:orders:50051';
    owner.ready = false;
    call.end(14, 'No connection established');
    expect(ends[0]).toMatchObject({ picked: false, channelReady: false, peer: undefined, wire: undefined });
  });

  it('ends once, whatever comes afterwards', () => {
    const { call, told, owner } = make();
    call.end(0);
    call.end(13);
    call.listener?.onReceiveMetadata(grpcHeaders());
    call.listener?.onReceiveMessage(Buffer.from('{}'));
    expect(told).toEqual(['end']);
    expect(owner.ended).toBe(1);
  });

  it('passes requests, reads and the half-close on', () => {
    const { call, attempt } = make();
    let written = 0;
    attempt.send(Buffer.from('a'), () => void (written += 1));
    attempt.send(Buffer.from('b'));
    attempt.halfClose();
    attempt.startRead();
    expect(call.did).toEqual(['start', 'send a', 'send b', 'half-close', 'read']);
    expect(written).toBe(1);
  });
});

describe('an attempt that is cancelled', () => {
  it('is cancelled at once and again in the next turn, when grpc-js has a stream to cancel', () => {
    const { call, clock, attempt, told } = make();
    attempt.cancel('cancel', 1, 'enough');
    expect(call.did).toEqual(['start', 'cancel 1 enough']);
    call.end(1, 'enough');
    clock.advance(0);
    expect(call.did).toEqual(['start', 'cancel 1 enough', 'cancel 1 enough']);
    expect(told).toEqual(['end']);
    expect(clock.pending).toBe(0);
  });

  it('remembers who ended it', () => {
    const { call, attempt, ends } = make();
    attempt.cancel('deadline', 4, 'too late');
    call.end(4, 'too late');
    expect(ends[0]).toMatchObject({ endedHere: 'deadline' });
  });

  it('hands no message on any more', () => {
    const { call, attempt, told } = make();
    attempt.cancel('cancel', 1, 'enough');
    call.listener?.onReceiveMessage(Buffer.from('{}'));
    expect(told).toEqual([]);
  });

  it('after its end is left alone', () => {
    const { call, clock, attempt } = make();
    call.end(0);
    attempt.cancel('cancel', 1, 'enough');
    clock.advance(0);
    expect(call.did).toEqual(['start']);
  });

  it('by one who no longer listens tells nobody', () => {
    const { call, attempt, told, owner } = make();
    attempt.abandon();
    call.listener?.onReceiveMetadata(grpcHeaders());
    call.end(1, 'Cancelled on client');
    expect(call.did).toContain('cancel 1 Cancelled on client');
    expect(told).toEqual([]);
    expect(owner.ended).toBe(1);
  });
});

describe('a status that servers send when they shut down', () => {
  const repeatable = (change: Partial<AttemptRequest> = {}) => {
    const scene = make({ mayRepeat: true, ...change });
    const session = { closed: false, destroyed: false };
    const transport = { session };
    const child = { http2Stream: { rstCode: 0 }, httpStatusCode: 200, transport };
    scene.call.child = { underlyingCalls: [{ call: { child } }] };
    const connection = connectionRecord(transport);
    /** Runs what the end of the connection ends. */
    const endConnection = () => {
      for (const ended of connection.endListeners) ended();
    };
    return { ...scene, session, connection, endConnection };
  };

  it.each([
    [14, 'Cancelling all calls'],
    [14, 'enter idle'],
    [14, 'Server shutdown'],
    [1, 'CANCELLED'],
  ])('is delivered with the GOAWAY that follows: %i %s', (code, details) => {
    const { call, clock, connection, ends, endConnection } = repeatable();
    call.end(code, details, grpcHeaders());
    clock.advance(19);
    expect(ends).toEqual([]);
    connection.goawayCode = 0;
    endConnection();
    expect(ends).toEqual([]);
    clock.advance(0);
    expect(ends).toMatchObject([{ code, details, endedHere: 'no', wire: { goawayCode: 0, connectionOver: true } }]);
    expect(clock.pending).toBe(0);
    expect(connection.endListeners.size).toBe(0);
  });

  it('is delivered after 20 ms without a GOAWAY', () => {
    const { call, clock, connection, ends } = repeatable();
    call.end(1, 'CANCELLED', grpcHeaders());
    clock.advance(19);
    expect(ends).toEqual([]);
    clock.advance(1);
    expect(ends).toMatchObject([{ code: 1, details: 'CANCELLED', wire: { goawayCode: undefined } }]);
    expect(clock.pending).toBe(0);
    expect(connection.endListeners.size).toBe(0);
  });

  it('is delivered when the connection closes without a GOAWAY', () => {
    const { call, clock, ends, endConnection } = repeatable();
    call.end(1, 'CANCELLED', grpcHeaders());
    endConnection();
    clock.advance(0);
    expect(ends).toMatchObject([{ code: 1, details: 'CANCELLED' }]);
  });

  it('is replaced by a cancel, once', () => {
    const { attempt, call, clock, connection, ends, endConnection } = repeatable();
    call.end(1, 'CANCELLED', grpcHeaders());
    connection.goawayCode = 0;
    endConnection();
    attempt.cancel('deadline', 4, 'Deadline exceeded');
    clock.advance(100);
    expect(ends).toMatchObject([
      { code: 4, details: 'Deadline exceeded', endedHere: 'deadline', contentType: undefined },
    ]);
    expect(call.did).toEqual(['start']);
  });

  it('of a cancelled call is discarded if its owner has abandoned it', () => {
    const { attempt, call, clock, owner, told } = repeatable();
    call.end(1, 'CANCELLED', grpcHeaders());
    attempt.abandon();
    clock.advance(0);
    expect(told).toEqual([]);
    expect(owner.ended).toBe(1);
    expect(clock.pending).toBe(0);
  });

  it.each<[string, Partial<AttemptRequest>, (scene: ReturnType<typeof repeatable>) => void]>([
    ['another attempt may not follow', { mayRepeat: false }, () => undefined],
    ['the deadline ends within 20 ms', { deadline: Date.UTC(2026, 0, 1) + 20 }, () => undefined],
    ['headers have arrived', {}, ({ call }) => call.listener?.onReceiveMetadata(grpcHeaders())],
    ['GOAWAY has arrived', {}, ({ connection }) => void (connection.goawayCode = 0)],
    ['the connection has closed', {}, ({ session }) => void (session.closed = true)],
  ])('is delivered at once if %s', (_why, change, prepare) => {
    const scene = repeatable(change);
    prepare(scene);
    scene.call.end(1, 'CANCELLED', grpcHeaders());
    expect(scene.ends).toMatchObject([{ code: 1, details: 'CANCELLED' }]);
    expect(scene.clock.pending).toBe(0);
  });

  it.each([
    [1, 'by the application'],
    [14, 'CANCELLED'],
    [5, 'none'],
    [0, ''],
  ])('does not delay another status: %i %s', (code, details) => {
    const { call, ends } = repeatable();
    call.end(code, details, grpcHeaders());
    expect(ends).toMatchObject([{ code, details }]);
  });
});

describe('an attempt that took too long', () => {
  type Scene = ReturnType<typeof make>;
  const STREAM: MethodDescriptor = { ...METHOD, kind: 'server-stream', responseStream: true };
  const cancelled = (why: AttemptEnd['endedHere'], code: number) => (scene: Scene) => {
    scene.attempt.cancel(why, code, '');
    scene.call.end(code);
  };

  it.each<[string, (scene: Scene) => void]>([
    ['for its deadline', cancelled('deadline', 4)],
    ['for its timeout', cancelled('attempt-timeout', 1)],
    ['for the patience of a stream', cancelled('stream-idle', 1)],
    [
      'for its deadline, as grpc-js finds',
      ({ call }) => {
        call.end(4, 'Deadline exceeded');
      },
    ],
    [
      'for an owner who left at the deadline',
      ({ call, attempt }) => {
        attempt.abandon('deadline');
        call.end(1);
      },
    ],
  ])('%s speaks against its connection', (_, end) => {
    const scene = make({ deadline: Date.UTC(2026, 0, 1) + 1_000 });
    scene.clock.advance(1_000);
    end(scene);
    expect(scene.owner.tooLong).toEqual([{ peer: '127.0.0.1:50051', startedAt: 0, waitedMs: 1_000 }]);
  });

  it.each<[string, (scene: Scene) => void]>([
    [
      'is answered',
      ({ call }) => {
        call.end(0);
      },
    ],
    [
      'is told by the server that it took too long',
      ({ call }) => {
        call.end(4);
      },
    ],
    [
      'loses its connection',
      ({ call }) => {
        call.end(14);
      },
    ],
    ['is cancelled', cancelled('cancel', 1)],
    ['is closed', cancelled('closed', 14)],
    [
      'is left by its owner',
      ({ call, attempt }) => {
        attempt.abandon();
        call.end(1);
      },
    ],
  ])('is none that %s', (_, end) => {
    const scene = make();
    scene.clock.advance(1_000);
    end(scene);
    expect(scene.owner.tooLong).toEqual([]);
  });

  it('is told with the time it waited: none is known of a stream that had been heard of', () => {
    const unheard = make({ method: STREAM });
    unheard.clock.advance(30_000);
    cancelled('stream-idle', 1)(unheard);
    expect(unheard.owner.tooLong).toMatchObject([{ waitedMs: 30_000 }]);
    const heard = make({ method: STREAM });
    heard.call.listener?.onReceiveMetadata(grpcHeaders());
    heard.clock.advance(3_600_000);
    cancelled('stream-idle', 1)(heard);
    expect(heard.owner.tooLong).toMatchObject([{ waitedMs: 0 }]);
  });
});

describe('an attempt that grpc-js ends by itself', () => {
  it('at its deadline did not end by a word of the server', () => {
    const { call, clock, ends } = make({ deadline: Date.UTC(2026, 0, 1) + 100 });
    clock.advance(100);
    call.end(4, 'Deadline exceeded after 0.100s');
    expect(ends[0]).toMatchObject({ endedHere: 'deadline' });
  });

  it('with DEADLINE_EXCEEDED before its deadline did', () => {
    const { call, ends } = make({ deadline: Date.UTC(2026, 0, 1) + 100 });
    call.end(4, 'the server gave up');
    expect(ends[0]).toMatchObject({ endedHere: 'no' });
  });

  it('because its parent was cancelled was cancelled here', () => {
    const { call, ends } = make({ options: { parent: { cancelled: true } as never } });
    call.end(1, 'Cancelled by parent call');
    expect(ends[0]).toMatchObject({ endedHere: 'cancel' });
  });

  it('with CANCELLED while its parent lives was cancelled by the other side', () => {
    const { call, ends } = make({ options: { parent: { cancelled: false } as never } });
    call.end(1, 'Call cancelled');
    expect(ends[0]).toMatchObject({ endedHere: 'no' });
  });
});

describe('a response that cannot be read', () => {
  it('ends the attempt as INTERNAL, by this side', () => {
    const { call, told, ends } = make();
    call.listener?.onReceiveMessage(Buffer.from('{'));
    expect(call.did[1]).toMatch(/^cancel 13 Response message parsing error: /);
    call.end(13, 'Response message parsing error: …');
    expect(told).toEqual(['end']);
    expect(ends[0]).toMatchObject({ endedHere: 'protocol', messagesReceived: 0 });
  });
});

describe('an attempt under interceptors', () => {
  const through: Interceptor = (options, next) => new InterceptingCall(next(options));

  it('has metadata of its own: interceptors may write into them', () => {
    const { call, request } = make({
      interceptors: [
        (options, next) =>
          new InterceptingCall(next(options), {
            start: (metadata, listener, start) => {
              metadata.set('x-by', 'interceptor');
              start(metadata, listener);
            },
          }),
      ],
    });
    expect(call.metadata?.get('x-by')).toEqual(['interceptor']);
    expect(request.metadata.getMap()).toEqual({});
  });

  it('gives and takes messages as objects, and reads by itself where there is one answer', () => {
    const { call, attempt, told } = make({ interceptors: [through] });
    attempt.send({ number: 1 });
    attempt.startRead();
    expect(call.did).toEqual(['start', 'read', 'send {"number":1}']);
    call.listener?.onReceiveMessage(Buffer.from('{"number":2}'));
    expect(told).toEqual(['message {"number":2}']);
  });

  it('reads on demand where there are many', () => {
    const { call, attempt } = make({
      interceptors: [through],
      method: { ...METHOD, kind: 'server-stream', responseStream: true },
    });
    expect(call.did).toEqual(['start']);
    attempt.startRead();
    expect(call.did).toEqual(['start', 'read']);
  });

  it('does not take the missing answer of a failed call for a message', () => {
    const { call, told } = make({ interceptors: [through] });
    call.end(5, 'none');
    expect(told).toEqual(['end']);
  });

  it('knows that a response could not be read', () => {
    const { call, ends } = make({ interceptors: [through] });
    call.listener?.onReceiveMessage(Buffer.from('{'));
    call.end(13, 'whatever');
    expect(ends[0]).toMatchObject({ endedHere: 'protocol', code: 13 });
    expect(ends[0]?.details).toMatch(/^Response message parsing error: /);
  });

  it('that answer by themselves are believed', () => {
    const { call, ends, told } = make({
      interceptors: [
        (options, next) =>
          new InterceptingCall(next(options), {
            start: (_metadata, listener) => {
              listener.onReceiveStatus({ code: 7, details: 'not allowed', metadata: new Metadata() });
            },
          }),
      ],
    });
    expect(told).toEqual(['end']);
    expect(ends[0]).toMatchObject({ code: 7, details: 'not allowed' });
    expect(call.did).not.toContain('start');
  });
});
