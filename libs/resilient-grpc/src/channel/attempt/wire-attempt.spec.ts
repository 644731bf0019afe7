import {
  CallCredentials,
  InterceptingCall,
  Metadata,
  status as Status,
  type Channel,
  type Interceptor,
} from '@grpc/grpc-js';
import { constants } from 'node:http2';
import { describe, expect, it, vi } from 'vitest';
import type { AttemptEnd, AttemptRequest } from '../../call/attempt.js';
import type { MethodDescriptor } from '../../call/method.js';
import { classify, type WireEvidence } from '../../policy/evidence/classify.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { Endpoints } from '../connection/endpoints.js';
import type { CallFacts, ConnectionCallListener } from '../subchannel/socket-call.js';
import type { WireChannel } from '../wire-channel.js';
import { WireAttempt } from './wire-attempt.js';
import { blockOf, blockOfMetadata } from '../../../../../test/unit-support/header-blocks.js';
import { metadataOf, ReceivedHeaders } from '../subchannel/header-fields.js';

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

/** The call of an attempt, which the test controls: a call on a connection, or a call of grpc-js. */
class FakeCall {
  readonly address = '127.0.0.1:50051';
  readonly connection = { endListeners: new Set<() => void>() };
  evidence: WireEvidence = {
    unprocessed: undefined,
    httpStatus: undefined,
    resetCode: undefined,
    lacksTrailers: false,
    closedHere: false,
    goawayCode: undefined,
    acceptsNoStreams: false,
    timedOut: false,
  };
  listener: Listener | undefined;
  metadata: Metadata | undefined;
  peer = this.address;
  readonly did: string[] = [];

  get facts(): CallFacts {
    return { evidence: this.evidence, connection: this.connection };
  }
  start(metadata: Metadata, listener: Listener): void {
    this.metadata = metadata;
    this.listener = listener;
    this.did.push('start');
  }
  sendMessageWithContext(context: { callback?: () => void }, message: Buffer): void {
    this.send(message, context.callback);
  }
  send(message: Uint8Array, written: (() => void) | undefined): void {
    this.did.push(`send ${Buffer.from(message).toString()}`);
    written?.();
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
  end(code: number, details = '', metadata = new Metadata()): void {
    this.listener?.onReceiveStatus({ code, details, metadata });
  }
}

interface Made {
  /** Result of the load-balancing policy: a connection (0), a wait for the next picker (1), or a failure (2). */
  readonly pick?: 0 | 1 | 2;
  readonly transport?: 'socket' | 'grpc-js';
}

/** Number of attempts that the channel counts as running. */
let active = 0;

function make(change: Partial<AttemptRequest> = {}, { pick = 0, transport = 'socket' }: Made = {}) {
  const clock = new VirtualClock();
  const call = new FakeCall();
  const created: unknown[][] = [];
  const subchannel = {
    getConnectivityState: () => 2,
    getCallCredentials: () => CallCredentials.createEmpty(),
    getRealSubchannel: () => ({
      createCall: (fields: readonly string[], _authority: string, _path: string, listener: ConnectionCallListener) => {
        call.start(metadataOf(blockOf(fields)), {
          onReceiveMetadata: (headers) => listener.onReceiveHeaders(new ReceivedHeaders(blockOfMetadata(headers))),
          onReceiveMessage: (message) => listener.onReceiveMessage(message as Buffer, false),
          onReceiveStatus: (status) => listener.onReceiveStatus(status),
        });
        return call;
      },
    }),
  };
  active = 0;
  const owner = {
    transport,
    channel: {
      createCall: (...args: unknown[]) => {
        created.push(args);
        return call;
      },
      getTarget: () => 'dns:orders:50051',
      internalChannel: { defaultAuthority: 'orders', onCallStart: () => undefined, onCallEnd: () => undefined },
    } as unknown as Channel,
    pick: () => ({
      pickResultType: pick,
      subchannel,
      status: { code: 14, details: 'No connection established', metadata: new Metadata() },
      onCallStarted: null,
      onCallEnded: null,
    }),
    unsent: new Set(),
    addUnsent: () => undefined,
    compression: undefined,
    maxReceiveBytes: Infinity,
    maxSendBytes: 100,
    ready: true,
    loads: undefined,
    ended: 0,
    histories: {
      isUndecided: false,
      answeredTo: (_peer: string | undefined, startedAt: number) => void owner.answered.push(startedAt),
    },
    answered: [] as number[],
    attemptStarted: () => void (active += 1),
    attemptEnded: () => {
      active -= 1;
      owner.ended += 1;
    },
    tooLong: [] as { peer: string | undefined; startedAt: number; waitedMs: number }[],
    timedOut: (peer: string | undefined, startedAt: number, waitedMs: number) =>
      void owner.tooLong.push({ peer, startedAt, waitedMs }),
    silenceRemedy: () => 'nothing received',
    // Safe: an attempt calls only these methods.
    endpoints: { started: vi.fn(), answered: vi.fn(), ended: vi.fn() } as unknown as Endpoints,
  };
  const reported: string[] = [];
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
    // Safe: an attempt uses only these members.
    owner as unknown as WireChannel,
    request,
    {
      onHeaders: () => reported.push('headers'),
      onMessage: (message) => reported.push(`message ${JSON.stringify(message)}`),
      onEnd: (end) => {
        reported.push('end');
        ends.push(end);
      },
    },
    clock,
    clock.now(),
  );
  return { clock, call, owner, created, reported, ends, attempt, request };
}

const grpcHeaders = (): Metadata => {
  const headers = new Metadata();
  headers.set('content-type', 'application/grpc+proto');
  return headers;
};

describe('attempt', () => {
  describe('WireAttempt', () => {
    it('starts one call immediately, with a copy of the metadata', () => {
      const { call, request } = make();
      expect(call.did).toEqual(['start']);
      expect(call.metadata?.toJSON()).toMatchObject({ 'grpc-accept-encoding': ['identity,deflate,gzip'] });
      expect(request.metadata.toJSON()).toEqual({});
    });

    it.each([
      ['reports a response on an undecided connection if the server sends a trailers-only response', grpcHeaders(), 1],
      ['reports no response on an undecided connection if grpc-js created the status', new Metadata(), 0],
    ])('%s', (_what, metadata, times) => {
      const { owner, call } = make();
      owner.histories.isUndecided = true;
      call.end(Status.NOT_FOUND, 'no such order', metadata);
      expect(owner.answered).toHaveLength(times);
    });

    it('reports the headers, messages, and end of an attempt, with its status, peer, and response data', () => {
      const { call, reported, ends, owner } = make();
      call.listener?.onReceiveMetadata(grpcHeaders());
      call.listener?.onReceiveMessage(Buffer.from('{"number":1}'));
      const trailers = new Metadata();
      call.end(5, 'none', trailers);
      expect(reported).toEqual(['headers', 'message {"number":1}', 'end']);
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

    it('reads the content-type of a response without headers from its trailers', () => {
      const { call, ends } = make();
      call.end(5, 'none', grpcHeaders());
      expect(ends[0]).toMatchObject({ headersReceived: false, contentType: 'application/grpc+proto' });
    });

    it('reports what a call waits for, and that it was never sent, until the policy picks a connection', () => {
      const { attempt, clock, ends } = make({}, { pick: 1 });
      expect(attempt.unsentBecause).toBe('waiting for a connection');
      attempt.cancel('cancel', 1, 'enough');
      clock.advance(0);
      expect(ends[0]).toMatchObject({ picked: false, peer: undefined, wire: { unprocessed: 'never-sent' } });
      expect(classify(ends[0]!)).toMatchObject({ kind: 'cancelled', reachedServer: 'no' });
    });

    it.each([
      ['no pick if grpc-js returns the target as the peer', 'dns:orders:50051', false],
      ['a pick if grpc-js does not know the peer', 'unknown', true],
    ])('reports %s, on the transport of grpc-js', (_what, peer, picked) => {
      const { attempt, call, ends } = make({}, { transport: 'grpc-js' });
      call.peer = peer;
      attempt.cancel('deadline', 4, '');
      expect(attempt.unsentBecause).toBeUndefined();
      call.end(4);
      expect(ends[0]).toMatchObject({ picked, peer: undefined, wire: undefined });
    });

    it('reports the attempt end once and ignores later events', () => {
      const { call, reported, owner } = make();
      call.end(0);
      call.end(13);
      call.listener?.onReceiveMetadata(grpcHeaders());
      call.listener?.onReceiveMessage(Buffer.from('{}'));
      expect(reported).toEqual(['end']);
      expect(owner.ended).toBe(1);
    });

    it('does not count an attempt as running if its start throws', () => {
      const thrower: Interceptor = () => {
        throw new Error('from an interceptor');
      };
      expect(() => make({ interceptors: [thrower] })).toThrow('from an interceptor');
      expect(active).toBe(0);
    });
  });

  describe('cancelled attempt', () => {
    it('cancels its call immediately, and a call of grpc-js again in the next turn, after grpc-js has created the child call', () => {
      for (const transport of ['socket', 'grpc-js'] as const) {
        const { call, clock, attempt, reported } = make({}, { transport });
        attempt.cancel('cancel', 1, 'enough');
        expect(call.did).toEqual(['start', 'cancel 1 enough']);
        call.end(1, 'enough');
        clock.advance(0);
        expect(call.did.slice(2)).toEqual(transport === 'socket' ? [] : ['cancel 1 enough']);
        expect(reported).toEqual(['end']);
        expect(clock.pending).toBe(0);
      }
    });

    it('drops messages that arrive after their attempt is cancelled', () => {
      const { call, attempt, reported } = make();
      attempt.cancel('cancel', 1, 'enough');
      call.listener?.onReceiveMessage(Buffer.from('{}'));
      expect(reported).toEqual([]);
    });

    it('reports nothing about an attempt after abandon()', () => {
      const { call, attempt, reported, owner } = make();
      attempt.abandon();
      call.listener?.onReceiveMetadata(grpcHeaders());
      call.end(1, 'Cancelled on client');
      expect(call.did).toContain('cancel 1 Cancelled on client');
      expect(reported).toEqual([]);
      expect(owner.ended).toBe(1);
    });
  });

  describe('status from a server that is shutting down', () => {
    const makeRepeatable = (change: Partial<AttemptRequest> = {}) => {
      const made = make({ mayRepeat: true, ...change });
      const { call } = made;
      const receiveGoaway = () => {
        call.evidence = { ...call.evidence, goawayCode: 0, acceptsNoStreams: true };
      };
      /** Calls the connection's end listeners. */
      const endConnection = () => {
        for (const ended of call.connection.endListeners) ended();
      };
      return { ...made, connection: call.connection, receiveGoaway, endConnection };
    };

    it.each([
      [14, 'Cancelling all calls'],
      [14, 'enter idle'],
      [14, 'Server shutdown'],
      [1, 'CANCELLED'],
    ])('delays the status %i %s until a GOAWAY follows it', (code, details) => {
      const { call, clock, connection, ends, receiveGoaway, endConnection } = makeRepeatable();
      call.end(code, details, grpcHeaders());
      clock.advance(19);
      expect(ends).toEqual([]);
      receiveGoaway();
      endConnection();
      expect(ends).toEqual([]);
      clock.advance(0);
      expect(ends).toMatchObject([{ code, details, endedHere: 'no', wire: { goawayCode: 0, acceptsNoStreams: true } }]);
      expect(clock.pending).toBe(0);
      expect(connection.endListeners.size).toBe(0);
    });

    it('delivers a delayed status after 20 ms if no GOAWAY arrives', () => {
      const { call, clock, connection, ends } = makeRepeatable();
      call.end(1, 'CANCELLED', grpcHeaders());
      clock.advance(19);
      expect(ends).toEqual([]);
      clock.advance(1);
      expect(ends).toMatchObject([{ code: 1, details: 'CANCELLED', wire: { goawayCode: undefined } }]);
      expect(clock.pending).toBe(0);
      expect(connection.endListeners.size).toBe(0);
    });

    it('delivers a delayed status when the connection closes without a GOAWAY', () => {
      const { call, clock, ends, endConnection } = makeRepeatable();
      call.end(1, 'CANCELLED', grpcHeaders());
      endConnection();
      clock.advance(0);
      expect(ends).toMatchObject([{ code: 1, details: 'CANCELLED' }]);
    });

    it('replaces a delayed status with the status of a cancellation, and reports one end', () => {
      const { attempt, call, clock, ends, receiveGoaway, endConnection } = makeRepeatable();
      call.end(1, 'CANCELLED', grpcHeaders());
      receiveGoaway();
      endConnection();
      attempt.cancel('deadline', 4, 'Deadline exceeded');
      clock.advance(100);
      expect(ends).toMatchObject([
        { code: 4, details: 'Deadline exceeded', endedHere: 'deadline', contentType: undefined },
      ]);
      expect(call.did).toEqual(['start']);
    });

    it('drops the delayed status of an abandoned attempt', () => {
      const { attempt, call, clock, owner, reported } = makeRepeatable();
      call.end(1, 'CANCELLED', grpcHeaders());
      attempt.abandon();
      clock.advance(0);
      expect(reported).toEqual([]);
      expect(owner.ended).toBe(1);
      expect(clock.pending).toBe(0);
    });

    it.each<[string, Partial<AttemptRequest>, (made: ReturnType<typeof makeRepeatable>) => void]>([
      ['no further attempt is allowed', { mayRepeat: false }, () => undefined],
      ['the deadline is within 20 ms', { deadline: Date.UTC(2026, 0, 1) + 20 }, () => undefined],
      ['headers have arrived', {}, ({ call }) => call.listener?.onReceiveMetadata(grpcHeaders())],
      ['the connection takes no more calls', {}, ({ receiveGoaway }) => receiveGoaway()],
    ])('delivers the status of a shutdown immediately if %s', (_why, change, prepare) => {
      const made = makeRepeatable(change);
      prepare(made);
      made.call.end(1, 'CANCELLED', grpcHeaders());
      expect(made.ends).toMatchObject([{ code: 1, details: 'CANCELLED' }]);
      expect(made.clock.pending).toBe(0);
    });

    it.each([
      [1, 'by the application'],
      [14, 'CANCELLED'],
      [5, 'none'],
      [0, ''],
    ])('does not delay a status that is unrelated to a shutdown: %i %s', (code, details) => {
      const { call, ends } = makeRepeatable();
      call.end(code, details, grpcHeaders());
      expect(ends).toMatchObject([{ code, details }]);
    });
  });

  describe('attempt that took too long', () => {
    type Made = ReturnType<typeof make>;
    const STREAM: MethodDescriptor = { ...METHOD, kind: 'server-stream', responseStream: true };
    const cancelWith = (why: AttemptEnd['endedHere'], code: number) => (made: Made) => {
      made.attempt.cancel(why, code, '');
      made.call.end(code);
    };

    it.each<[string, (made: Made) => void]>([
      ['its deadline', cancelWith('deadline', 4)],
      ['the attempt timeout', cancelWith('attempt-timeout', 1)],
      ['the idle timeout of a stream', cancelWith('stream-idle', 1)],
      [
        'its deadline, enforced by grpc-js',
        ({ call }) => {
          call.end(4, 'Deadline exceeded');
        },
      ],
      [
        'abandon() at the deadline',
        ({ call, attempt }) => {
          attempt.abandon('deadline');
          call.end(1);
        },
      ],
    ])('counts an attempt against its connection if the attempt was ended by %s', (_, end) => {
      const made = make({ deadline: Date.UTC(2026, 0, 1) + 1_000 });
      made.clock.advance(1_000);
      end(made);
      expect(made.owner.tooLong).toEqual([{ peer: '127.0.0.1:50051', startedAt: 0, waitedMs: 1_000 }]);
    });

    it.each<[string, (made: Made) => void]>([
      [
        'receives a response',
        ({ call }) => {
          call.end(0);
        },
      ],
      [
        'receives DEADLINE_EXCEEDED from the server',
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
      ['is cancelled', cancelWith('cancel', 1)],
      ['ends because the client closes', cancelWith('closed', 14)],
      [
        'is abandoned',
        ({ call, attempt }) => {
          attempt.abandon();
          call.end(1);
        },
      ],
    ])('does not count an attempt against its connection if the attempt %s', (_, end) => {
      const made = make();
      made.clock.advance(1_000);
      end(made);
      expect(made.owner.tooLong).toEqual([]);
    });

    it('reports the remedy for a silent connection only if the attempt timed out before its headers arrived', () => {
      const withoutHeaders = make({ method: STREAM });
      cancelWith('attempt-timeout', 1)(withoutHeaders);
      const withHeaders = make({ method: STREAM });
      withHeaders.call.listener?.onReceiveMetadata(grpcHeaders());
      cancelWith('attempt-timeout', 1)(withHeaders);
      const lost = make({ method: STREAM });
      lost.call.end(14);
      const remedies = [withoutHeaders, withHeaders, lost].map(({ ends }) => ends[0]?.remedy);
      expect(remedies).toEqual(['nothing received', undefined, undefined]);
    });

    it('reports how long a timed-out attempt waited, or 0 ms for a response stream that received headers', () => {
      const withoutHeaders = make({ method: STREAM });
      withoutHeaders.clock.advance(30_000);
      cancelWith('stream-idle', 1)(withoutHeaders);
      expect(withoutHeaders.owner.tooLong).toMatchObject([{ waitedMs: 30_000 }]);
      const withHeaders = make({ method: STREAM });
      withHeaders.call.listener?.onReceiveMetadata(grpcHeaders());
      withHeaders.clock.advance(3_600_000);
      cancelWith('stream-idle', 1)(withHeaders);
      expect(withHeaders.owner.tooLong).toMatchObject([{ waitedMs: 0 }]);
    });
  });

  describe('attempt whose own timeout was sent to the server', () => {
    /** The server's status after `ms` of a timeout of 1 s. */
    function endAfter(ms: number, code: number, metadata = grpcHeaders(), headers?: Metadata) {
      const made = make({ sentTimeout: { ms: 1_000, details: 'Attempt timed out' } });
      made.clock.advance(ms);
      if (headers) made.call.listener?.onReceiveMetadata(headers);
      made.call.end(code, 'context canceled', metadata);
      return { ...made, verdict: classify(made.ends[0]!) };
    }

    it.each([
      [900, 4, 'Attempt timed out'],
      [999, 1, "Attempt timed out; the server's status: CANCELLED: context canceled"],
      [1_001, 2, "Attempt timed out; the server's status: UNKNOWN: context canceled"],
      [900, 13, "Attempt timed out; the server's status: INTERNAL: context canceled"],
    ])(
      'ends by the timeout if the server reports the end of its work after %d ms as status %d',
      (ms, code, details) => {
        const { verdict, owner } = endAfter(ms, code);
        expect(verdict).toMatchObject({ kind: 'attempt-timeout', reachedServer: 'maybe', code: 4, details });
        // The server has responded, so the connection works.
        expect(owner.tooLong).toEqual([]);
      },
    );

    it.each<[string, () => ReturnType<typeof endAfter>, string]>([
      ['arrives long before the timeout', () => endAfter(899, 2), 'server'],
      ['describes the request', () => endAfter(999, 5), 'server'],
      ['names the state of the server', () => endAfter(999, 14), 'server'],
      ['follows headers', () => endAfter(999, 13, new Metadata(), grpcHeaders()), 'committed'],
      ['comes from a reset', () => endAfter(999, 1, new Metadata()), 'cancelled'],
    ])('keeps a status that %s', (_, end, kind) => {
      expect(end().verdict.kind).toBe(kind);
    });
  });

  describe('attempt ended by grpc-js', () => {
    it('attributes DEADLINE_EXCEEDED before the deadline to the server', () => {
      const { call, ends } = make({ deadline: Date.UTC(2026, 0, 1) + 100 });
      call.end(4, 'timeout in the server');
      expect(ends[0]).toMatchObject({ endedHere: 'no' });
    });
  });

  describe('attempt with interceptors', () => {
    const through: Interceptor = (options, next) => new InterceptingCall(next(options));

    it('serializes messages below the interceptors, and reads a single response automatically', () => {
      const { call, attempt, reported } = make({ interceptors: [through] });
      attempt.send({ number: 1 });
      attempt.startRead();
      expect(call.did).toEqual(['start', 'read', 'send {"number":1}']);
      call.listener?.onReceiveMessage(Buffer.from('{"number":2}'));
      expect(reported).toEqual(['headers', 'message {"number":2}']);
    });

    it('starts the response at the first message if an interceptor forwards no headers', () => {
      const { call, attempt, ends, reported } = make({ interceptors: [through] });
      attempt.send({});
      call.listener?.onReceiveMessage(Buffer.from('{"number":1}'));
      call.listener?.onReceiveMessage(Buffer.from('{"number":2}'));
      call.end(14, 'Connection dropped');
      expect(reported).toEqual(['headers', 'message {"number":1}', 'message {"number":2}', 'end']);
      expect(ends[0]).toMatchObject({ headersReceived: true, messagesReceived: 2 });
    });

    it.each([
      ['the latest call had no connection', 2],
      ['the server refused the latest call', 0],
    ] as const)('does not report an attempt with several calls as unprocessed if %s', (_which, pick) => {
      const twice: Interceptor = (options, next) => {
        next(options);
        return new InterceptingCall(next(options));
      };
      const { call, attempt, clock, owner, ends } = make({ interceptors: [twice] }, { pick });
      attempt.send({});
      const resetCode = constants.NGHTTP2_REFUSED_STREAM;
      call.evidence = { ...call.evidence, unprocessed: 'rejected', resetCode };
      owner.ready = false;
      call.end(14, 'Stream refused by server');
      clock.advance(0);
      expect(ends[0]?.picked).toBe(true);
      expect(ends[0]?.wire?.unprocessed).toBeUndefined();
      expect(ends[0]?.wire?.resetCode).toBeUndefined();
      expect(classify(ends[0]!)).toMatchObject({ kind: 'connection-lost', reachedServer: 'maybe' });
    });

    it('reads a response stream on demand if there are interceptors', () => {
      const { call, attempt } = make({
        interceptors: [through],
        method: { ...METHOD, kind: 'server-stream', responseStream: true },
      });
      attempt.send({});
      expect(call.did).toEqual(['start', 'send {}']);
      attempt.startRead();
      expect(call.did).toEqual(['start', 'send {}', 'read']);
    });

    it('reports an unreadable response of a call with interceptors as a local protocol error', () => {
      const { call, attempt, ends } = make({ interceptors: [through] });
      attempt.send({});
      call.listener?.onReceiveMessage(Buffer.from('{'));
      call.end(13, 'whatever');
      expect(ends[0]).toMatchObject({ endedHere: 'protocol', code: 13 });
      expect(ends[0]?.details).toMatch(/^Response message parsing error: /);
    });

    it('ends a call that an interceptor starts after it was cancelled, without sending it', () => {
      let start: () => void = () => undefined;
      const late: Interceptor = (options, next) =>
        new InterceptingCall(next(options), {
          start: (metadata, listener, proceed) => {
            start = () => proceed(metadata, listener);
          },
        });
      const { call, clock, attempt, ends } = make({ interceptors: [late] });
      attempt.cancel('cancel', 1, 'Cancelled on client');
      start();
      clock.advance(0);
      expect(ends[0]).toMatchObject({ code: 1, endedHere: 'cancel' });
      expect(call.did).not.toContain('start');
    });

    it('forwards a status that an interceptor creates, without starting the call', () => {
      const { call, owner, ends, reported } = make({
        interceptors: [
          (options, next) =>
            new InterceptingCall(next(options), {
              start: (_metadata, listener) => {
                listener.onReceiveStatus({ code: 7, details: 'not allowed', metadata: new Metadata() });
              },
            }),
        ],
      });
      expect(reported).toEqual(['end']);
      expect(ends[0]).toMatchObject({ code: 7, details: 'not allowed' });
      expect(call.did).not.toContain('start');
      // The attempt must not be reported as started after its end, because it would then be counted as unanswered forever.
      expect(owner.endpoints.started).not.toHaveBeenCalled();
      expect(owner.endpoints.ended).toHaveBeenCalledOnce();
    });
  });
});
