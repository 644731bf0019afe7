import { Metadata, status as Status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { attemptRequest, JSON_METHOD } from '../../../../../test/unit-support/attempt-request.js';
import { fakeChannel, type FakeChannelSettings } from '../../../../../test/unit-support/fake-connection.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { AttemptEnd, AttemptRequest } from '../../call/attempt.js';
import type { MethodDescriptor } from '../../call/method.js';
import { classify } from '../../policy/evidence/classify.js';
import { GrpcJsAttempt } from '../grpc-js/grpc-js-attempt.js';
import { SocketAttempt } from './socket-attempt.js';

function make(change: Partial<AttemptRequest> = {}, settings: FakeChannelSettings = {}) {
  const clock = new VirtualClock();
  const fake = fakeChannel(settings);
  const reported: string[] = [];
  const ends: AttemptEnd[] = [];
  const request = attemptRequest(change);
  const listener = {
    onHeaders: () => reported.push('headers'),
    onMessage: (message: unknown) => reported.push(`message ${JSON.stringify(message)}`),
    onEnd: (end: AttemptEnd) => {
      reported.push('end');
      ends.push(end);
    },
  };
  const attempt =
    settings.transport === 'grpc-js'
      ? new GrpcJsAttempt(fake.wire, request, listener, clock, clock.now()).begin()
      : new SocketAttempt(fake.wire, request, listener, clock, clock.now()).begin();
  return { ...fake, clock, reported, ends, attempt, request };
}

const grpcHeaders = (): Metadata => {
  const headers = new Metadata();
  headers.set('content-type', 'application/grpc+proto');
  return headers;
};

describe('attempt', () => {
  describe('WireAttempt', () => {
    it('reports a response on an undecided connection if the server sends a status without headers, but not if it is lost', () => {
      const [answered, lost] = [make(), make()];
      answered.histories.isUndecided = lost.histories.isUndecided = true;
      answered.receive.status(Status.NOT_FOUND, 'no such order', grpcHeaders());
      lost.receive.failure({ cause: 'lost' });
      expect([answered.answered.length, lost.answered.length]).toEqual([1, 0]);
    });

    it('reports the headers, messages, and end of an attempt, with its status, peer, and response data', () => {
      const { receive, reported, ends, counts } = make();
      receive.headers(grpcHeaders());
      receive.message('{"number":1}');
      const trailers = new Metadata();
      trailers.set('x-key', 'value');
      receive.status(5, 'none', trailers);
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
      expect(ends[0]?.metadata.get('x-key')).toEqual(['value']);
      expect(counts).toMatchObject({ active: 0, ended: 1 });
    });

    it('reads the content-type of a response without headers from its trailers', () => {
      const { receive, ends } = make();
      receive.status(5, 'none', grpcHeaders());
      expect(ends[0]).toMatchObject({ headersReceived: false, contentType: 'application/grpc+proto' });
    });

    it('reports what a call waits for, and that it was never sent, until the policy picks a connection', () => {
      const { attempt, clock, ends } = make({}, { picks: ['queue'] });
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
      const { attempt, grpcJs, ends } = make({}, { transport: 'grpc-js' });
      grpcJs.peer = peer;
      attempt.cancel('deadline', 4, '');
      expect(attempt.unsentBecause).toBeUndefined();
      grpcJs.end(4);
      expect(ends[0]).toMatchObject({ picked, peer: undefined, wire: undefined });
    });

    it('reports the attempt end once and ignores later events', () => {
      const { grpcJs, reported, counts } = make({}, { transport: 'grpc-js' });
      grpcJs.end(0);
      grpcJs.end(13);
      grpcJs.listener?.onReceiveMetadata(grpcHeaders());
      grpcJs.listener?.onReceiveMessage(Buffer.from('{}'));
      expect(reported).toEqual(['end']);
      expect(counts.ended).toBe(1);
    });
  });

  describe('cancelled attempt', () => {
    it('cancels its stream immediately, and reports the end in a later turn', () => {
      const { did, clock, attempt, reported, ends } = make();
      attempt.cancel('cancel', 1, 'enough');
      expect([did, reported]).toEqual([['cancel'], []]);
      clock.advance(0);
      expect(ends).toMatchObject([{ code: 1, details: 'enough', endedHere: 'cancel' }]);
      expect(clock.pending).toBe(0);
    });

    it('cancels a call of grpc-js again in the next turn, after grpc-js has created the child call', () => {
      const { grpcJs, clock, attempt } = make({}, { transport: 'grpc-js' });
      attempt.cancel('cancel', 1, 'enough');
      grpcJs.end(1, 'enough');
      clock.advance(0);
      expect(grpcJs.did).toEqual(['start', 'cancel 1 enough', 'cancel 1 enough']);
    });

    it('drops messages that arrive after their attempt is cancelled', () => {
      const { receive, attempt, reported } = make();
      attempt.cancel('cancel', 1, 'enough');
      receive.message('{}');
      expect(reported).toEqual([]);
    });

    it('reports nothing about an attempt after abandon()', () => {
      const { did, clock, attempt, reported, counts } = make();
      attempt.abandon();
      clock.advance(0);
      expect([did, reported, counts.ended]).toEqual([['cancel'], [], 1]);
    });
  });

  describe('status from a server that is shutting down', () => {
    const makeRepeatable = (change: Partial<AttemptRequest> = {}) => {
      const made = make({ mayRepeat: true, ...change });
      const { connection } = made;
      const receiveGoaway = () => {
        Object.assign(connection, { goawayCode: 0, isUsable: false });
      };
      /** Calls the connection's end listeners. */
      const endConnection = () => {
        for (const ended of connection.endListeners) ended();
      };
      return { ...made, receiveGoaway, endConnection };
    };

    it.each([
      [14, 'Cancelling all calls'],
      [14, 'enter idle'],
      [14, 'Server shutdown'],
      [1, 'CANCELLED'],
    ])('delays the status %i %s until a GOAWAY follows it', (code, details) => {
      const { receive, clock, connection, ends, receiveGoaway, endConnection } = makeRepeatable();
      receive.status(code, details, grpcHeaders());
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
      const { receive, clock, connection, ends } = makeRepeatable();
      receive.status(1, 'CANCELLED', grpcHeaders());
      clock.advance(19);
      expect(ends).toEqual([]);
      clock.advance(1);
      expect(ends).toMatchObject([{ code: 1, details: 'CANCELLED', wire: { goawayCode: undefined } }]);
      expect(clock.pending).toBe(0);
      expect(connection.endListeners.size).toBe(0);
    });

    it('delivers a delayed status when the connection closes without a GOAWAY', () => {
      const { receive, clock, ends, endConnection } = makeRepeatable();
      receive.status(1, 'CANCELLED', grpcHeaders());
      endConnection();
      clock.advance(0);
      expect(ends).toMatchObject([{ code: 1, details: 'CANCELLED' }]);
    });

    it('replaces a delayed status with the status of a cancellation, and reports one end', () => {
      const { attempt, receive, clock, ends, receiveGoaway, endConnection } = makeRepeatable();
      receive.status(1, 'CANCELLED', grpcHeaders());
      receiveGoaway();
      endConnection();
      attempt.cancel('deadline', 4, 'Deadline exceeded');
      clock.advance(100);
      expect(ends).toMatchObject([
        { code: 4, details: 'Deadline exceeded', endedHere: 'deadline', contentType: undefined },
      ]);
    });

    it('drops the delayed status of an abandoned attempt', () => {
      const { attempt, receive, clock, counts, reported } = makeRepeatable();
      receive.status(1, 'CANCELLED', grpcHeaders());
      attempt.abandon();
      clock.advance(0);
      expect(reported).toEqual([]);
      expect(counts.ended).toBe(1);
      expect(clock.pending).toBe(0);
    });

    it.each<[string, Partial<AttemptRequest>, (made: ReturnType<typeof makeRepeatable>) => void]>([
      ['no further attempt is allowed', { mayRepeat: false }, () => undefined],
      ['the deadline is within 20 ms', { deadline: Date.UTC(2026, 0, 1) + 20 }, () => undefined],
      ['headers have arrived', {}, ({ receive }) => receive.headers(grpcHeaders())],
      ['the connection takes no more calls', {}, ({ receiveGoaway }) => receiveGoaway()],
    ])('delivers the status of a shutdown immediately if %s', (_why, change, prepare) => {
      const made = makeRepeatable(change);
      prepare(made);
      made.receive.status(1, 'CANCELLED', grpcHeaders());
      expect(made.ends).toMatchObject([{ code: 1, details: 'CANCELLED' }]);
      expect(made.clock.pending).toBe(0);
    });

    it.each([
      [1, 'by the application'],
      [14, 'CANCELLED'],
      [5, 'none'],
      [0, ''],
    ])('does not delay a status that is unrelated to a shutdown: %i %s', (code, details) => {
      const { receive, ends } = makeRepeatable();
      receive.status(code, details, grpcHeaders());
      expect(ends).toMatchObject([{ code, details }]);
    });
  });

  describe('attempt that took too long', () => {
    type Made = ReturnType<typeof make>;
    const STREAM: MethodDescriptor = { ...JSON_METHOD, kind: 'server-stream', responseStream: true };
    const cancelWith = (why: AttemptEnd['endedHere'], code: number) => (made: Made) => {
      made.attempt.cancel(why, code, '');
      made.clock.advance(0);
    };

    it.each<[string, (made: Made) => void]>([
      ['its deadline', cancelWith('deadline', 4)],
      ['the attempt timeout', cancelWith('attempt-timeout', 1)],
      ['the idle timeout of a stream', cancelWith('stream-idle', 1)],
      [
        'abandon() at the deadline',
        ({ clock, attempt }) => {
          attempt.abandon('deadline');
          clock.advance(0);
        },
      ],
    ])('counts an attempt against its connection if the attempt was ended by %s', (_, end) => {
      const made = make();
      made.clock.advance(1_000);
      end(made);
      expect(made.tooLong).toEqual([{ peer: '127.0.0.1:50051', startedAt: 0, waitedMs: 1_000 }]);
    });

    it('counts an attempt against its connection if grpc-js ended it at its deadline', () => {
      const { clock, grpcJs, tooLong } = make({ deadline: Date.UTC(2026, 0, 1) + 1_000 }, { transport: 'grpc-js' });
      clock.advance(1_000);
      grpcJs.end(4, 'Deadline exceeded');
      expect(tooLong).toEqual([{ peer: '127.0.0.1:50051', startedAt: 0, waitedMs: 1_000 }]);
    });

    it.each<[string, (made: Made) => void]>([
      ['receives a response', ({ receive }) => receive.status(0)],
      ['receives DEADLINE_EXCEEDED from the server', ({ receive }) => receive.status(4)],
      ['loses its connection', ({ receive }) => receive.failure({ cause: 'lost' })],
      ['is cancelled', cancelWith('cancel', 1)],
      ['ends because the client closes', cancelWith('closed', 14)],
      [
        'is abandoned',
        ({ clock, attempt }) => {
          attempt.abandon();
          clock.advance(0);
        },
      ],
    ])('does not count an attempt against its connection if the attempt %s', (_, end) => {
      const made = make();
      made.clock.advance(1_000);
      end(made);
      expect(made.tooLong).toEqual([]);
    });

    it('reports the remedy for a silent connection only if the attempt timed out before its headers arrived', () => {
      const withoutHeaders = make({ method: STREAM });
      cancelWith('attempt-timeout', 1)(withoutHeaders);
      const withHeaders = make({ method: STREAM });
      withHeaders.receive.headers(grpcHeaders());
      cancelWith('attempt-timeout', 1)(withHeaders);
      const lost = make({ method: STREAM });
      lost.receive.failure({ cause: 'lost' });
      const remedies = [withoutHeaders, withHeaders, lost].map(({ ends }) => ends[0]?.remedy);
      expect(remedies).toEqual(['nothing received', undefined, undefined]);
    });

    it('reports how long a timed-out attempt waited, or 0 ms for a response stream that received headers', () => {
      const withoutHeaders = make({ method: STREAM });
      withoutHeaders.clock.advance(30_000);
      cancelWith('stream-idle', 1)(withoutHeaders);
      expect(withoutHeaders.tooLong).toMatchObject([{ waitedMs: 30_000 }]);
      const withHeaders = make({ method: STREAM });
      withHeaders.receive.headers(grpcHeaders());
      withHeaders.clock.advance(3_600_000);
      cancelWith('stream-idle', 1)(withHeaders);
      expect(withHeaders.tooLong).toMatchObject([{ waitedMs: 0 }]);
    });
  });

  describe('attempt whose own timeout was sent to the server', () => {
    /** The server's status after `ms` of a timeout of 1 s. */
    function endAfter(ms: number, code: number, metadata = grpcHeaders(), headers?: Metadata) {
      const made = make({ sentTimeout: { ms: 1_000, details: 'Attempt timed out' } });
      made.clock.advance(ms);
      if (headers) made.receive.headers(headers);
      made.receive.status(code, 'context canceled', metadata);
      return { ...made, verdict: classify(made.ends[0]!) };
    }
    /** The server resets the stream after `ms`. */
    function resetAfter(ms: number) {
      const made = make({ sentTimeout: { ms: 1_000, details: 'Attempt timed out' } });
      made.clock.advance(ms);
      made.receive.failure({ cause: 'reset', code: 8 });
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
        const { verdict, tooLong } = endAfter(ms, code);
        expect(verdict).toMatchObject({ kind: 'attempt-timeout', reachedServer: 'maybe', code: 4, details });
        // The server has responded, so the connection works.
        expect(tooLong).toEqual([]);
      },
    );

    it.each<[string, () => ReturnType<typeof endAfter>, string]>([
      ['arrives long before the timeout', () => endAfter(899, 2), 'server'],
      ['describes the request', () => endAfter(999, 5), 'server'],
      ['names the state of the server', () => endAfter(999, 14), 'server'],
      ['follows headers', () => endAfter(999, 13, new Metadata(), grpcHeaders()), 'committed'],
      ['comes from a reset', () => resetAfter(999), 'connection-lost'],
    ])('keeps a status that %s', (_, end, kind) => {
      expect(end().verdict.kind).toBe(kind);
    });
  });

  describe('status of the server', () => {
    it('attributes DEADLINE_EXCEEDED before the deadline to the server', () => {
      const { receive, ends } = make({ deadline: Date.UTC(2026, 0, 1) + 100 });
      receive.status(4, 'timeout in the server');
      expect(ends[0]).toMatchObject({ endedHere: 'no' });
    });
  });
});
