import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isStatusCode, StatusCode } from '../../status/status-code.js';
import { type AttemptEvidence, type WireEvidence, classify, isAnswered, SUCCESS, type Verdict } from './classify.js';
import { failureByText } from './local-failure.js';
import { NOTHING_SEEN } from '../../../../../test/unit-support/memory-transport.js';

const { OK, CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED } = StatusCode;
const { INTERNAL, UNAVAILABLE, UNAUTHENTICATED, PERMISSION_DENIED, INVALID_ARGUMENT } = StatusCode;

/** Attempt that was sent on a READY channel and received no response. */
const SENT: AttemptEvidence = {
  code: UNKNOWN,
  details: '',
  picked: true,
  channelReady: true,
  endedHere: 'no',
  headersReceived: false,
  messagesReceived: 0,
  contentType: undefined,
};
const NO_MORE_STREAMS: WireEvidence = { ...NOTHING_SEEN, acceptsNoStreams: true };
/** A response without a content-type. */
const UNTYPED: AttemptEvidence = { ...SENT, wire: { ...NOTHING_SEEN, httpStatus: 200 } };
const UNPICKED: AttemptEvidence = { ...SENT, picked: false };
const BEGUN: AttemptEvidence = { ...SENT, headersReceived: true, contentType: 'application/grpc+proto' };
const TRAILERS_ONLY: AttemptEvidence = { ...SENT, contentType: 'application/grpc' };

/** Classifies evidence from grpc-js's transport, where only the status message shows what failed on this side. */
const classifyByText = (e: AttemptEvidence): Verdict => classify({ failure: failureByText(e.code, e.details), ...e });

type Row = readonly [title: string, evidence: AttemptEvidence, expected: Partial<Verdict>];

function table(rows: readonly Row[]): void {
  it.each(rows)('%s', (_, evidence, expected) => {
    expect(classifyByText(evidence)).toMatchObject(expected);
  });
}

describe('successful attempt', () => {
  it('returns the shared SUCCESS verdict for a successful attempt', () => {
    expect(classify({ ...BEGUN, code: OK, messagesReceived: 1 })).toBe(SUCCESS);
  });
  it('returns SUCCESS for the status OK even if the client ended the attempt at the deadline', () => {
    expect(classify({ ...BEGUN, code: OK, endedHere: 'deadline' })).toBe(SUCCESS);
  });
});

describe('attempt without a picked connection', () => {
  const unsent = { kind: 'unsent', reachedServer: 'no', code: UNAVAILABLE } as const;
  const local = { kind: 'local', reachedServer: 'no' } as const;
  table([
    [
      'reports unsent if the server refuses connections',
      {
        ...UNPICKED,
        channelReady: false,
        code: UNAVAILABLE,
        details: 'No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ',
      },
      unsent,
    ],
    [
      'reports unsent if the name does not resolve',
      {
        ...UNPICKED,
        channelReady: false,
        code: UNAVAILABLE,
        details: 'Name resolution failed for target dns:orders:50051',
      },
      unsent,
    ],
    [
      'reports unsent if the channel was closed before the call started',
      { ...UNPICKED, channelReady: false, code: UNAVAILABLE, details: 'Channel closed before call started' },
      unsent,
    ],
    [
      'reports unsent for a failed pick even if the channel is READY again',
      {
        ...UNPICKED,
        code: UNAVAILABLE,
        details: 'No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ',
      },
      unsent,
    ],
    [
      'reports unsent if the connection accepts no more streams',
      {
        ...UNPICKED,
        code: INTERNAL,
        details: 'Failed to start HTTP/2 stream with error New streams cannot be created after receiving a GOAWAY',
      },
      unsent,
    ],
    [
      'reports a local failure if credentials fail with UNAVAILABLE on a READY channel',
      {
        ...UNPICKED,
        code: UNAVAILABLE,
        details: 'Getting metadata from plugin failed with error: token service is down',
      },
      { ...local, code: UNAVAILABLE },
    ],
    [
      'reports a local failure if credentials fail with a code other than UNAVAILABLE',
      { ...UNPICKED, code: UNAUTHENTICATED, details: 'Getting metadata from plugin failed with error: no token' },
      { ...local, code: UNAUTHENTICATED },
    ],
    [
      'reports a local failure if an interceptor returns UNAVAILABLE on a READY channel',
      { ...UNPICKED, code: UNAVAILABLE, details: 'not today' },
      { ...local, code: UNAVAILABLE, details: 'not today' },
    ],
    [
      'reports a local failure if the request is too large',
      { ...UNPICKED, code: RESOURCE_EXHAUSTED, details: 'Attempted to send message with a size larger than 1024' },
      { ...local, code: RESOURCE_EXHAUSTED },
    ],
    [
      'reports a local failure if the metadata is invalid',
      { ...UNPICKED, code: INTERNAL, details: '"authorization" metadata cannot have multiple values' },
      { ...local, code: INTERNAL },
    ],
    [
      'reports a local failure if a serializer threw inside an interceptor',
      {
        ...UNPICKED,
        failure: 'request-not-serializable',
        code: INTERNAL,
        details: 'Request message serialization failure: boom',
      },
      { ...local, code: INTERNAL },
    ],
    [
      'reports a deadline with reachedServer no if credentials took too long',
      { ...UNPICKED, code: DEADLINE_EXCEEDED, details: 'Deadline exceeded after 0.201s,Waiting for LB pick' },
      { kind: 'deadline', reachedServer: 'no', code: DEADLINE_EXCEEDED },
    ],
    [
      'reports a local failure for "Failed to start HTTP/2 stream" if the code is not INTERNAL',
      { ...UNPICKED, code: UNKNOWN, details: 'Failed to start HTTP/2 stream with error x' },
      { ...local, code: UNKNOWN },
    ],
    [
      'reports a local failure for DEADLINE_EXCEEDED with a message that is not from grpc-js',
      { ...UNPICKED, code: DEADLINE_EXCEEDED, details: 'token service timed out' },
      { ...local, code: DEADLINE_EXCEEDED },
    ],
    [
      'reports reachedServer maybe if the parent call was cancelled, because grpc-js sends a call that is cancelled in its first tick',
      { ...UNPICKED, code: CANCELLED, details: 'Cancelled by parent call' },
      { kind: 'cancelled', reachedServer: 'maybe', code: CANCELLED },
    ],
    [
      'reports reachedServer maybe for a cancelled call whose status message is that of a reset stream',
      { ...UNPICKED, code: CANCELLED, details: 'Call cancelled' },
      { kind: 'cancelled', reachedServer: 'maybe', code: CANCELLED },
    ],
  ]);
});

describe('unprocessed stream', () => {
  const refused = { code: UNAVAILABLE, details: 'Stream refused by server' };
  const withError = { code: INTERNAL, details: 'Received RST_STREAM with code 2 (Internal server error)' };
  table([
    [
      'reports unsent if the stream was queued when the connection closed',
      {
        ...SENT,
        code: UNAVAILABLE,
        details: 'Connection dropped',
        wire: { ...NO_MORE_STREAMS, unprocessed: 'never-sent' },
      },
      { kind: 'unsent', reachedServer: 'no', code: UNAVAILABLE, connectionLost: false },
    ],
    [
      'reports unsent if nghttp2 refuses a queued stream after a GOAWAY',
      { ...SENT, ...refused, wire: { ...NO_MORE_STREAMS, goawayCode: 0, unprocessed: 'never-sent', resetCode: 7 } },
      { kind: 'unsent', reachedServer: 'no', code: UNAVAILABLE },
    ],
    [
      'reports refused if a GOAWAY named a lower stream ID',
      { ...SENT, ...refused, wire: { ...NO_MORE_STREAMS, goawayCode: 0, unprocessed: 'rejected', resetCode: 7 } },
      {
        kind: 'refused',
        reachedServer: 'no',
        code: UNAVAILABLE,
        details: "Rejected by the server's GOAWAY (UNAVAILABLE: Stream refused by server)",
        connectionLost: false,
      },
    ],
    [
      'reports refused if a GOAWAY named a lower stream ID, and the stream ended with INTERNAL_ERROR',
      { ...SENT, ...withError, wire: { ...NO_MORE_STREAMS, goawayCode: 0, unprocessed: 'rejected', resetCode: 2 } },
      { kind: 'refused', reachedServer: 'no', code: UNAVAILABLE },
    ],
    [
      'reports committed for a stream that a GOAWAY rejected, if its response had started',
      { ...BEGUN, ...withError, wire: { ...NO_MORE_STREAMS, goawayCode: 0, unprocessed: 'rejected', resetCode: 2 } },
      { kind: 'committed', reachedServer: 'yes' },
    ],
  ]);
});

describe('REFUSED_STREAM reset', () => {
  const refused = { code: UNAVAILABLE, details: 'Stream refused by server' };
  table([
    [
      'reports reachedServer maybe for a REFUSED_STREAM reset, because proxies also send it for requests that were processed',
      { ...SENT, ...refused, wire: { ...NOTHING_SEEN, resetCode: 7 } },
      { kind: 'refused', reachedServer: 'maybe', ...refused },
    ],
    [
      'reports a server status if the server itself sends the status of a refused stream',
      { ...TRAILERS_ONLY, ...refused },
      { kind: 'server', reachedServer: 'maybe' },
    ],
    [
      'reports a server status if the server itself sends the status of a refused stream without a content-type',
      { ...UNTYPED, ...refused },
      { kind: 'server', reachedServer: 'maybe', connectionLost: false },
    ],
  ]);
});

describe('connection lost after sending', () => {
  const LOSS_STATUSES: readonly (readonly [
    cause: string,
    code: StatusCode,
    details: string,
    resetCode: number | undefined,
  ])[] = [
    ['a killed server', UNAVAILABLE, 'Connection dropped', undefined],
    ['a reset connection', UNAVAILABLE, 'read ECONNRESET', undefined],
    ['a connection that timed out', UNAVAILABLE, 'read ETIMEDOUT', undefined],
    ['a socket that closed during a write', UNAVAILABLE, 'Write error: write EPIPE', undefined],
    ['a forced stop of a Nest or grpc-js server', CANCELLED, 'Call cancelled', 8],
    [
      'a connection that reached its maximum age or was closed by nginx or HAProxy',
      INTERNAL,
      'Received RST_STREAM with code 0 (Call ended without gRPC status)',
      0,
    ],
    ['an abrupt end of the session', INTERNAL, 'Received RST_STREAM with code 2 (Internal server error)', 2],
    [
      'a GOAWAY with an error',
      INTERNAL,
      'Received RST_STREAM with code 2 triggered by internal client error: Session closed with error code 2',
      2,
    ],
    ['a GOAWAY because of too many pings', RESOURCE_EXHAUSTED, 'Bandwidth exhausted or memory limit exceeded', 11],
  ];

  it.each(LOSS_STATUSES)('reports a lost connection with reachedServer maybe for %s', (_, code, details, resetCode) => {
    const verdict = classify({ ...SENT, code, details, wire: { ...NO_MORE_STREAMS, resetCode } });
    expect(verdict).toMatchObject({
      kind: 'connection-lost',
      reachedServer: 'maybe',
      code: UNAVAILABLE,
      originalCode: code,
      connectionLost: true,
    });
    expect(verdict.details).toContain('Connection lost');
    expect(verdict.details).toContain(details);
  });

  it('includes the original code in the details of a lost connection', () => {
    expect(
      classify({ ...SENT, code: CANCELLED, details: 'Call cancelled', wire: { ...NO_MORE_STREAMS, resetCode: 8 } })
        .details,
    ).toBe('Connection lost after sending (CANCELLED: Call cancelled)');
  });

  it('adds "the server no longer responded" to the details of a lost connection if the connection timed out', () => {
    const wire = { ...NO_MORE_STREAMS, timedOut: true };
    expect(classify({ ...SENT, code: UNAVAILABLE, details: 'Connection dropped', wire }).details).toBe(
      'Connection lost after sending (UNAVAILABLE: Connection dropped: the server no longer responded)',
    );
  });

  it('reports a lost connection for UNAVAILABLE with any message if no response arrived', () => {
    expect(classify({ ...SENT, code: UNAVAILABLE, details: 'the wire melted' })).toMatchObject({
      kind: 'connection-lost',
    });
  });

  it.each(LOSS_STATUSES)(
    'reports a server status if the server itself sends the status that grpc-js reports for %s',
    (_, code, details) => {
      expect(classify({ ...TRAILERS_ONLY, code, details })).toEqual({
        kind: 'server',
        reachedServer: code === UNAVAILABLE || code === CANCELLED ? 'maybe' : 'yes',
        code,
        details,
        retryableHttp: false,
        connectionLost: false,
      });
    },
  );

  it.each(LOSS_STATUSES)(
    'reports a server status if a response without a content-type has the status that grpc-js reports for %s',
    (_, code, details) => {
      expect(classify({ ...UNTYPED, code, details })).toMatchObject({
        kind: 'server',
        reachedServer: 'maybe',
        code,
        connectionLost: false,
      });
    },
  );

  it.each(LOSS_STATUSES)(
    'reports committed if the server sends headers and then the status that grpc-js reports for %s',
    (_, code, details) => {
      const wire = { ...NOTHING_SEEN, httpStatus: 200 };
      expect(classifyByText({ ...BEGUN, code, details, wire })).toMatchObject({
        kind: 'committed',
        code,
        connectionLost: false,
      });
    },
  );

  it.each(LOSS_STATUSES)(
    'reports committed with UNAVAILABLE if the connection is lost after headers (cause: %s)',
    (_, code, details, resetCode) => {
      const wire = { ...NO_MORE_STREAMS, httpStatus: 200, resetCode };
      const verdict = classifyByText({ ...BEGUN, code, details, wire });
      expect(verdict).toMatchObject({
        kind: 'committed',
        reachedServer: 'yes',
        code: UNAVAILABLE,
        connectionLost: true,
      });
      expect(verdict.details).toContain(`Connection lost after the response had started (`);
      expect(verdict.details).toContain(details);
    },
  );

  table([
    [
      'reports committed after a message, even without headers',
      { ...SENT, messagesReceived: 1, code: UNAVAILABLE, details: 'Connection dropped', wire: NO_MORE_STREAMS },
      { kind: 'committed', reachedServer: 'yes', connectionLost: true },
    ],
    [
      'reports an overloaded server if ENHANCE_YOUR_CALM reset only the stream',
      {
        ...SENT,
        code: RESOURCE_EXHAUSTED,
        details: 'Bandwidth exhausted or memory limit exceeded',
        wire: { ...NOTHING_SEEN, resetCode: 11 },
      },
      { kind: 'connection-lost', reachedServer: 'maybe', code: UNAVAILABLE, connectionLost: false, overloaded: true },
    ],
    [
      'blames the request if ENHANCE_YOUR_CALM reset a stream with more fields than the server takes',
      {
        ...SENT,
        code: RESOURCE_EXHAUSTED,
        details: 'too many fields',
        wire: { ...NOTHING_SEEN, resetCode: 11, hasTooManyFields: true },
      },
      { kind: 'local', reachedServer: 'maybe', code: RESOURCE_EXHAUSTED, connectionLost: false },
    ],
    [
      'reports a reset stream if ENHANCE_YOUR_CALM ended only the stream after the response had started',
      {
        ...BEGUN,
        code: RESOURCE_EXHAUSTED,
        details: 'Bandwidth exhausted or memory limit exceeded',
        wire: { ...NOTHING_SEEN, httpStatus: 200, resetCode: 11 },
      },
      {
        kind: 'committed',
        reachedServer: 'yes',
        code: UNAVAILABLE,
        details:
          'Stream reset after the response had started (RESOURCE_EXHAUSTED: Bandwidth exhausted or memory limit exceeded)',
      },
    ],
    [
      'reports a lost connection if the reset code equals the code of the GOAWAY',
      {
        ...SENT,
        code: INTERNAL,
        details: 'Received RST_STREAM with code 1',
        wire: { ...NO_MORE_STREAMS, goawayCode: 1, resetCode: 1 },
      },
      { kind: 'connection-lost', reachedServer: 'maybe', code: UNAVAILABLE, originalCode: INTERNAL },
    ],
    [
      'reports a server status with the code INTERNAL for a reset with PROTOCOL_ERROR',
      { ...SENT, code: INTERNAL, details: 'Received RST_STREAM with code 1', wire: { ...NOTHING_SEEN, resetCode: 1 } },
      { kind: 'server', reachedServer: 'maybe', code: INTERNAL, details: 'Received RST_STREAM with code 1' },
    ],
    [
      'reports a server status for a reset with INADEQUATE_SECURITY',
      {
        ...SENT,
        code: PERMISSION_DENIED,
        details: 'Protocol not secure enough',
        wire: { ...NOTHING_SEEN, resetCode: 12 },
      },
      { kind: 'server', reachedServer: 'maybe', code: PERMISSION_DENIED },
    ],
  ]);
});

describe('response that is not gRPC', () => {
  it.each([
    [401, UNAUTHENTICATED, false],
    [403, PERMISSION_DENIED, false],
    [404, UNIMPLEMENTED, false],
    [429, UNAVAILABLE, true],
    [500, UNKNOWN, false],
    [502, UNAVAILABLE, true],
    [503, UNAVAILABLE, true],
    [504, UNAVAILABLE, true],
  ])('keeps the code of grpc-js for HTTP status %i', (status, code, retryableHttp) => {
    const details = `Received HTTP status code ${status}`;
    const instead = 'a proxy or web server responded instead of the gRPC server';
    const expected = { kind: 'http', reachedServer: 'maybe', code, retryableHttp, connectionLost: false };
    const untyped = { ...expected, details: `${details} without a content-type: ${instead}` };
    const html = { ...expected, details: `${details} with content-type text/html: ${instead}` };
    const sent: AttemptEvidence = {
      ...SENT,
      failure: 'http',
      code,
      details,
      wire: { ...NOTHING_SEEN, httpStatus: status },
    };
    expect(classify(sent)).toEqual(untyped);
    expect(classify({ ...sent, contentType: 'text/html' })).toEqual(html);
    expect(classify({ ...sent, contentType: 'text/html', headersReceived: true })).toEqual(html);
  });

  it('reports a server status if the message of the server names an HTTP status', () => {
    expect(classify({ ...UNTYPED, code: UNAVAILABLE, details: 'Received HTTP status code 503' })).toMatchObject({
      kind: 'server',
      retryableHttp: false,
    });
  });

  table([
    [
      'reports an HTTP response even if grpc-js read an HTML page as a message',
      {
        ...SENT,
        headersReceived: true,
        contentType: 'text/html; charset=utf-8',
        code: RESOURCE_EXHAUSTED,
        details: 'Received message larger than max (1008813135 vs 4194304)',
      },
      { kind: 'http', reachedServer: 'maybe', code: RESOURCE_EXHAUSTED, retryableHttp: false },
    ],
    [
      'reports an HTTP response for gRPC-Web, which is another protocol',
      { ...SENT, contentType: 'application/grpc-web+proto', code: UNKNOWN, details: 'Received HTTP status code 200' },
      { kind: 'http', code: UNKNOWN },
    ],
    [
      'reports a server status if the content-type is gRPC, even if the message names an HTTP status',
      { ...TRAILERS_ONLY, code: UNAVAILABLE, details: 'Received HTTP status code 503' },
      { kind: 'server', reachedServer: 'maybe', retryableHttp: false },
    ],
  ]);
});

describe('status from the server', () => {
  it('reports reachedServer maybe only for the statuses without headers that a proxy or a peer that is shutting down sends', () => {
    const inDoubt = Object.entries(StatusCode).filter(
      ([, code]) => code !== OK && classify({ ...TRAILERS_ONLY, code }).reachedServer !== 'yes',
    );
    expect(inDoubt.map(([name]) => name)).toEqual(['CANCELLED', 'DEADLINE_EXCEEDED', 'UNAVAILABLE']);
  });

  it.each([CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE, NOT_FOUND])(
    'counts status %d with the content-type of gRPC as a response, and a connection without any as none',
    (code) => {
      const answer = { ...TRAILERS_ONLY, code };
      expect(isAnswered(answer, classify(answer))).toBe(true);
      expect(isAnswered(SENT, classify({ ...SENT, code }))).toBe(false);
    },
  );

  table([
    [
      'reports the status from the server unchanged',
      { ...TRAILERS_ONLY, code: NOT_FOUND, details: 'no such order' },
      { kind: 'server', reachedServer: 'yes', code: NOT_FOUND, details: 'no such order' },
    ],
    [
      'reports reachedServer maybe if the transport of the server refused the size of a request',
      { ...TRAILERS_ONLY, code: RESOURCE_EXHAUSTED, details: 'Received message larger than max (9 vs 8)' },
      { kind: 'server', reachedServer: 'maybe', code: RESOURCE_EXHAUSTED },
    ],
    [
      'reports UNAVAILABLE from the server unchanged, with reachedServer maybe, because a proxy may have sent it',
      { ...TRAILERS_ONLY, contentType: 'application/grpc;charset=utf-8', code: UNAVAILABLE, details: 'warming up' },
      { kind: 'server', reachedServer: 'maybe', code: UNAVAILABLE, details: 'warming up' },
    ],
    [
      'reports a server status if a space follows the media type in the content-type',
      { ...TRAILERS_ONLY, contentType: 'application/grpc ; charset=utf-8', code: UNAVAILABLE, details: 'warming up' },
      { kind: 'server', reachedServer: 'maybe', code: UNAVAILABLE, details: 'warming up' },
    ],
    [
      'reports DEADLINE_EXCEEDED from the server as a server status',
      { ...TRAILERS_ONLY, code: DEADLINE_EXCEEDED, details: 'Deadline exceeded after 1s' },
      { kind: 'server', reachedServer: 'maybe', code: DEADLINE_EXCEEDED },
    ],
    [
      'reports CANCELLED from the server as a server status',
      { ...TRAILERS_ONLY, code: CANCELLED, details: 'Cancelled on client' },
      { kind: 'server', reachedServer: 'maybe', code: CANCELLED },
    ],
    [
      'reports reachedServer maybe for a server status if the response has no content-type',
      { ...UNTYPED, code: INVALID_ARGUMENT, details: 'id: must be set' },
      { kind: 'server', reachedServer: 'maybe', code: INVALID_ARGUMENT, details: 'id: must be set' },
    ],
    [
      'reports reachedServer maybe for DEADLINE_EXCEEDED from a server if the response has no content-type',
      { ...UNTYPED, code: DEADLINE_EXCEEDED, details: 'Deadline exceeded after 1s' },
      { kind: 'server', reachedServer: 'maybe', code: DEADLINE_EXCEEDED },
    ],
    [
      'reports reachedServer maybe for a server status that has the message of a deadline but another code',
      { ...SENT, code: INVALID_ARGUMENT, details: 'Deadline exceeded after 1s' },
      { kind: 'server', reachedServer: 'maybe', code: INVALID_ARGUMENT },
    ],
    [
      'reports reachedServer yes for UNAVAILABLE that follows headers',
      { ...BEGUN, code: UNAVAILABLE, details: 'warming up' },
      { kind: 'committed', reachedServer: 'yes', code: UNAVAILABLE },
    ],
    [
      'reports committed for a status that follows headers',
      { ...BEGUN, code: NOT_FOUND, details: 'no such order' },
      { kind: 'committed', reachedServer: 'yes', code: NOT_FOUND, details: 'no such order' },
    ],
    [
      'reports committed for a status that follows messages',
      { ...BEGUN, messagesReceived: 3, code: UNAVAILABLE, details: 'going down' },
      { kind: 'committed', reachedServer: 'yes', code: UNAVAILABLE, details: 'going down', connectionLost: false },
    ],
    [
      'reports committed if the server rejects a request as too large',
      {
        ...BEGUN,
        code: RESOURCE_EXHAUSTED,
        details: 'Received message larger than max (5000000 vs 4194304)',
        wire: { ...NOTHING_SEEN, httpStatus: 200 },
      },
      { kind: 'committed', reachedServer: 'yes', code: RESOURCE_EXHAUSTED },
    ],
    [
      'reports UNKNOWN if the status is not a number',
      { ...TRAILERS_ONLY, code: NaN, details: 'oops' },
      { kind: 'protocol', code: UNKNOWN, details: 'Received NaN, which is not a gRPC status code: oops' },
    ],
    [
      'reports UNKNOWN if the status is above 16',
      { ...TRAILERS_ONLY, code: 99 },
      { kind: 'protocol', code: UNKNOWN, details: 'Received 99, which is not a gRPC status code' },
    ],
  ]);
});

describe('call aborted by a server shutdown', () => {
  const STATUSES: readonly (readonly [StatusCode, string])[] = [
    [UNAVAILABLE, 'Cancelling all calls'],
    [UNAVAILABLE, 'enter idle'],
    [UNAVAILABLE, 'Server shutdown'],
    [CANCELLED, 'CANCELLED'],
  ];
  const goaway = { ...NO_MORE_STREAMS, goawayCode: 0, httpStatus: 200 };

  it.each(STATUSES)(
    'reports a lost connection with reachedServer maybe if a server shutdown aborts the call: %s %s',
    (code, details) => {
      for (const contentType of ['application/grpc', undefined]) {
        expect(classify({ ...SENT, code, details, contentType, wire: goaway })).toMatchObject({
          kind: 'connection-lost',
          reachedServer: 'maybe',
          code: UNAVAILABLE,
          originalCode: code,
          connectionLost: true,
        });
      }
    },
  );

  it.each(STATUSES)(
    'reports a server status, not a lost connection, if the status of a server shutdown arrives without a GOAWAY: %s %s',
    (code, details) => {
      expect(classify({ ...TRAILERS_ONLY, code, details, wire: { ...goaway, goawayCode: undefined } })).toMatchObject({
        kind: 'server',
        reachedServer: 'maybe',
        code,
      });
    },
  );

  it('reports a server status if the message is not that of a server shutdown', () => {
    expect(classify({ ...TRAILERS_ONLY, code: UNAVAILABLE, details: 'warming up', wire: goaway })).toMatchObject({
      kind: 'server',
      reachedServer: 'maybe',
    });
  });

  it('reports committed if a server shutdown aborts the call after headers', () => {
    expect(classify({ ...BEGUN, code: UNAVAILABLE, details: 'Server shutdown', wire: goaway })).toMatchObject({
      kind: 'committed',
      connectionLost: false,
    });
  });
});

describe('attempt that the client ended', () => {
  table([
    [
      'names maxReceiveMessageLength if grpc-js rejects a response as too large',
      {
        ...BEGUN,
        failure: 'response-too-large',
        code: RESOURCE_EXHAUSTED,
        details: 'Received message larger than max (5000000 vs 4194304)',
        wire: { ...NOTHING_SEEN, httpStatus: 200, closedHere: true },
      },
      {
        kind: 'protocol',
        reachedServer: 'yes',
        code: RESOURCE_EXHAUSTED,
        details: 'Received message larger than max (5000000 vs 4194304); raise maxReceiveMessageLength to accept it',
      },
    ],
    [
      'reports reachedServer maybe if the deadline passes after sending',
      { ...SENT, endedHere: 'deadline', code: DEADLINE_EXCEEDED, details: 'too late' },
      { kind: 'deadline', reachedServer: 'maybe', code: DEADLINE_EXCEEDED, details: 'too late' },
    ],
    [
      'reports reachedServer maybe if the status of the server arrives when the deadline passes',
      { ...SENT, endedHere: 'deadline', code: DEADLINE_EXCEEDED, contentType: 'application/grpc' },
      { kind: 'deadline', reachedServer: 'maybe', code: DEADLINE_EXCEEDED },
    ],
    [
      'reports reachedServer no if the deadline passes while HTTP/2 still queues the stream',
      {
        ...SENT,
        endedHere: 'deadline',
        code: DEADLINE_EXCEEDED,
        wire: { ...NO_MORE_STREAMS, unprocessed: 'never-sent' },
      },
      { kind: 'deadline', reachedServer: 'no', code: DEADLINE_EXCEEDED },
    ],
    [
      'reports reachedServer no if the deadline passes before sending',
      { ...UNPICKED, endedHere: 'deadline', code: DEADLINE_EXCEEDED },
      { kind: 'deadline', reachedServer: 'no' },
    ],
    [
      'reports reachedServer yes if the deadline passes during the response',
      { ...BEGUN, endedHere: 'deadline', code: DEADLINE_EXCEEDED },
      { kind: 'deadline', reachedServer: 'yes' },
    ],
    [
      'reports a deadline that grpc-js detected first',
      {
        ...SENT,
        code: DEADLINE_EXCEEDED,
        details: 'Deadline exceeded after 0.201s,name resolution: 0.001s,remote_addr=127.0.0.1:1',
      },
      { kind: 'deadline', reachedServer: 'maybe' },
    ],
    [
      'reports DEADLINE_EXCEEDED for an attempt timeout',
      { ...SENT, endedHere: 'attempt-timeout', code: CANCELLED, details: 'attempt took longer than 300 ms' },
      { kind: 'attempt-timeout', reachedServer: 'maybe', code: DEADLINE_EXCEEDED },
    ],
    [
      'reports reachedServer yes for an attempt timeout after headers',
      { ...BEGUN, endedHere: 'attempt-timeout', code: CANCELLED },
      { kind: 'attempt-timeout', reachedServer: 'yes', code: DEADLINE_EXCEEDED },
    ],
    [
      'reports UNAVAILABLE for an idle stream',
      { ...SENT, endedHere: 'stream-idle', code: CANCELLED, details: 'no message for 300 ms' },
      { kind: 'stream-idle', reachedServer: 'maybe', code: UNAVAILABLE, details: 'no message for 300 ms' },
    ],
    [
      'reports reachedServer yes for an idle stream after headers',
      { ...BEGUN, endedHere: 'stream-idle', code: CANCELLED },
      { kind: 'stream-idle', reachedServer: 'yes', code: UNAVAILABLE },
    ],
    [
      'reports cancelled if the caller cancelled',
      { ...SENT, endedHere: 'cancel', code: CANCELLED, details: 'Cancelled on client' },
      { kind: 'cancelled', reachedServer: 'maybe', code: CANCELLED },
    ],
    [
      'reports reachedServer maybe if the caller cancelled before a connection was picked',
      { ...UNPICKED, endedHere: 'cancel', code: CANCELLED },
      { kind: 'cancelled', reachedServer: 'maybe' },
    ],
    [
      'reports reachedServer yes if the caller cancelled after headers',
      { ...BEGUN, endedHere: 'cancel', code: CANCELLED },
      { kind: 'cancelled', reachedServer: 'yes', code: CANCELLED },
    ],
    [
      'reports cancelled with the message of the interceptor that cancelled',
      { ...SENT, code: CANCELLED, details: 'I changed my mind' },
      { kind: 'cancelled', reachedServer: 'maybe', code: CANCELLED, details: 'I changed my mind' },
    ],
    [
      'reports UNAVAILABLE if the client was closed',
      { ...SENT, endedHere: 'closed', code: UNAVAILABLE, details: 'client closed' },
      { kind: 'cancelled', reachedServer: 'maybe', code: UNAVAILABLE },
    ],
    [
      'reports UNAVAILABLE if the client was closed, even without a status code',
      { ...SENT, endedHere: 'closed', code: NaN },
      { kind: 'cancelled', reachedServer: 'maybe', code: UNAVAILABLE },
    ],
    [
      'keeps the code RESOURCE_EXHAUSTED for a response that is too large',
      { ...BEGUN, endedHere: 'protocol', code: RESOURCE_EXHAUSTED },
      { kind: 'protocol', reachedServer: 'yes', code: RESOURCE_EXHAUSTED },
    ],
    [
      'reports reachedServer yes for a response that cannot be parsed',
      {
        ...BEGUN,
        endedHere: 'protocol',
        code: INTERNAL,
        details: 'Response message parsing error: index out of range',
      },
      { kind: 'protocol', reachedServer: 'yes', code: INTERNAL },
    ],
    [
      'reports INTERNAL for the status OK without a response message',
      { ...TRAILERS_ONLY, endedHere: 'protocol', code: OK },
      { kind: 'protocol', reachedServer: 'yes', code: INTERNAL },
    ],
    [
      'reports reachedServer no for a request that cannot be serialized',
      { ...UNPICKED, endedHere: 'serialize', code: INTERNAL, details: 'boom' },
      { kind: 'serialize', reachedServer: 'no', code: INTERNAL, details: 'boom' },
    ],
    [
      'reports INTERNAL for a request that cannot be serialized, even if the server returned OK',
      { ...TRAILERS_ONLY, endedHere: 'serialize', code: OK },
      { kind: 'serialize', reachedServer: 'maybe', code: INTERNAL },
    ],
    [
      'reports reachedServer maybe if a later message of a request stream cannot be serialized',
      { ...SENT, endedHere: 'serialize', code: INTERNAL },
      { kind: 'serialize', reachedServer: 'maybe' },
    ],
    [
      'reports reachedServer maybe if an interceptor cannot serialize a later message of a request stream',
      { ...SENT, failure: 'request-not-serializable', code: INTERNAL, details: 'boom' },
      { kind: 'serialize', reachedServer: 'maybe', code: INTERNAL },
    ],
    [
      'reports reachedServer maybe if a later message of a request stream is too large',
      { ...SENT, failure: 'request-too-large', code: RESOURCE_EXHAUSTED, details: 'larger than 1024' },
      { kind: 'local', reachedServer: 'maybe', code: RESOURCE_EXHAUSTED },
    ],
  ]);
});

describe('classify with any evidence', () => {
  const evidence: fc.Arbitrary<AttemptEvidence> = fc.record({
    code: fc.oneof(fc.integer({ min: -1, max: 18 }), fc.constant(NaN)),
    details: fc.oneof(
      fc.string(),
      fc.constantFrom(
        'Call cancelled',
        'Connection dropped',
        'Stream refused by server',
        'Received HTTP status code 503',
      ),
    ),
    failure: fc.constantFrom(
      undefined,
      'not-placed',
      'not-started',
      'credentials',
      'deadline',
      'dropped',
      'http',
      'response-too-large',
      'request-too-large',
      'request-not-serializable',
    ),
    picked: fc.boolean(),
    channelReady: fc.boolean(),
    endedHere: fc.constantFrom(
      'no',
      'no',
      'no',
      'deadline',
      'attempt-timeout',
      'stream-idle',
      'cancel',
      'protocol',
      'serialize',
      'not-prepared',
      'closed',
    ),
    headersReceived: fc.boolean(),
    messagesReceived: fc.nat(2),
    contentType: fc.constantFrom(undefined, 'application/grpc', 'text/html'),
    wire: fc.option(
      fc.record({
        unprocessed: fc.constantFrom(undefined, undefined, 'never-sent', 'rejected'),
        httpStatus: fc.constantFrom(undefined, 200, 503),
        resetCode: fc.option(fc.nat(13), { nil: undefined }),
        lacksTrailers: fc.boolean(),
        closedHere: fc.boolean(),
        goawayCode: fc.option(fc.nat(13), { nil: undefined }),
        acceptsNoStreams: fc.boolean(),
        timedOut: fc.boolean(),
      }),
      { nil: undefined },
    ),
  });

  it('returns a valid gRPC code for every attempt, and OK only for a success', () => {
    fc.assert(
      fc.property(evidence, (e) => {
        const verdict = classify(e);
        expect(isStatusCode(verdict.code)).toBe(true);
        expect(verdict.kind === 'ok').toBe(verdict.code === OK);
      }),
    );
  });

  it('decides by the evidence, whatever the status message says', () => {
    fc.assert(
      fc.property(evidence, (e) => {
        const { details: _, ...verdict } = classify(e);
        expect(classify({ ...e, details: 'another text' })).toMatchObject(verdict);
      }),
    );
  });

  it('never reports reachedServer no for a gRPC response on a picked connection if the stream may have been processed', () => {
    fc.assert(
      fc.property(evidence, (e) => {
        fc.pre(e.picked && e.contentType === 'application/grpc' && e.endedHere === 'no');
        fc.pre(e.wire?.unprocessed === undefined);
        expect(classify(e).reachedServer).not.toBe('no');
      }),
    );
  });

  it('reports reachedServer no only if the attempt was not prepared, no connection was picked, or the stream was not processed', () => {
    fc.assert(
      fc.property(evidence, (e) => {
        fc.pre(e.endedHere !== 'not-prepared');
        if (classify(e).reachedServer === 'no' && e.picked) expect(e.wire?.unprocessed).toBeDefined();
      }),
    );
  });
});
