import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isStatusCode, StatusCode } from '../../status/status-code.js';
import type { AttemptEvidence, WireEvidence } from './attempt-evidence.js';
import { NOTHING_SEEN } from '../../testing/memory-transport.js';
import { classify, SUCCESS } from './classify.js';
import type { Verdict } from './verdict.js';

const { OK, CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED } = StatusCode;
const { INTERNAL, UNAVAILABLE, UNAUTHENTICATED, PERMISSION_DENIED, INVALID_ARGUMENT } = StatusCode;

/** Sent on a READY channel, and nothing came back. */
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
const OVER: WireEvidence = { ...NOTHING_SEEN, connectionOver: true };
/** A response without a content-type. */
const UNTYPED: AttemptEvidence = { ...SENT, wire: { ...NOTHING_SEEN, httpStatus: 200 } };
const UNPICKED: AttemptEvidence = { ...SENT, picked: false };
const BEGUN: AttemptEvidence = { ...SENT, headersReceived: true, contentType: 'application/grpc+proto' };
const TRAILERS_ONLY: AttemptEvidence = { ...SENT, contentType: 'application/grpc' };

type Row = readonly [sentence: string, evidence: AttemptEvidence, expected: Partial<Verdict>];

function table(rows: readonly Row[]): void {
  it.each(rows)('%s', (_, evidence, expected) => {
    expect(classify(evidence)).toMatchObject(expected);
  });
}

describe('an attempt that succeeded', () => {
  it('is OK, without an object of its own', () => {
    expect(classify({ ...BEGUN, code: OK, messagesReceived: 1 })).toBe(SUCCESS);
  });
  it('is OK even if this side wanted to end it by then', () => {
    expect(classify({ ...BEGUN, code: OK, endedHere: 'deadline' })).toBe(SUCCESS);
  });
});

describe('an attempt for which no connection was picked', () => {
  const unsent = { kind: 'unsent', reachedServer: 'no', code: UNAVAILABLE } as const;
  const local = { kind: 'local', reachedServer: 'no' } as const;
  table([
    [
      'is unsent when the server refuses connections',
      {
        ...UNPICKED,
        channelReady: false,
        code: UNAVAILABLE,
        details: 'No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ',
      },
      unsent,
    ],
    [
      'is unsent when the name is not known',
      {
        ...UNPICKED,
        channelReady: false,
        code: UNAVAILABLE,
        details: 'Name resolution failed for target dns:orders:50051',
      },
      unsent,
    ],
    [
      'is unsent when the channel was closed before it began',
      { ...UNPICKED, channelReady: false, code: UNAVAILABLE, details: 'Channel closed before call started' },
      unsent,
    ],
    [
      'is unsent when the channel is READY again',
      {
        ...UNPICKED,
        code: UNAVAILABLE,
        details: 'No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ',
      },
      unsent,
    ],
    [
      'is unsent when its connection takes no more streams',
      {
        ...UNPICKED,
        code: INTERNAL,
        details: 'Failed to start HTTP/2 stream with error New streams cannot be created after receiving a GOAWAY',
      },
      unsent,
    ],
    [
      'failed here when credentials fail with UNAVAILABLE on a READY channel',
      {
        ...UNPICKED,
        code: UNAVAILABLE,
        details: 'Getting metadata from plugin failed with error: token service is down',
      },
      { ...local, code: UNAVAILABLE },
    ],
    [
      'failed here when credentials fail otherwise',
      { ...UNPICKED, code: UNAUTHENTICATED, details: 'Getting metadata from plugin failed with error: no token' },
      { ...local, code: UNAUTHENTICATED },
    ],
    [
      'failed here when an interceptor says UNAVAILABLE on a READY channel',
      { ...UNPICKED, code: UNAVAILABLE, details: 'not today' },
      { ...local, code: UNAVAILABLE, details: 'not today' },
    ],
    [
      'failed here when the request is too large',
      { ...UNPICKED, code: RESOURCE_EXHAUSTED, details: 'Attempted to send message with a size larger than 1024' },
      { ...local, code: RESOURCE_EXHAUSTED },
    ],
    [
      'failed here when its metadata is wrong',
      { ...UNPICKED, code: INTERNAL, details: '"authorization" metadata cannot have multiple values' },
      { ...local, code: INTERNAL },
    ],
    [
      'failed here when a serializer threw inside an interceptor',
      { ...UNPICKED, code: INTERNAL, details: 'Request message serialization failure: boom' },
      { ...local, code: INTERNAL },
    ],
    [
      'is over its deadline, unsent, when credentials took too long',
      { ...UNPICKED, code: DEADLINE_EXCEEDED, details: 'Deadline exceeded after 0.201s,Waiting for LB pick' },
      { kind: 'deadline', reachedServer: 'no', code: DEADLINE_EXCEEDED },
    ],
    [
      'failed here when only its text says that a stream did not start',
      { ...UNPICKED, code: UNKNOWN, details: 'Failed to start HTTP/2 stream with error x' },
      { ...local, code: UNKNOWN },
    ],
    [
      'failed here when its code is DEADLINE_EXCEEDED and its text is not that of grpc-js',
      { ...UNPICKED, code: DEADLINE_EXCEEDED, details: 'token service timed out' },
      { ...local, code: DEADLINE_EXCEEDED },
    ],
    [
      'may have run when its parent was cancelled: in the tick it began it is sent all the same',
      { ...UNPICKED, code: CANCELLED, details: 'Cancelled by parent call' },
      { kind: 'cancelled', reachedServer: 'maybe', code: CANCELLED },
    ],
    [
      'may have run when it was cancelled with the text of a reset',
      { ...UNPICKED, code: CANCELLED, details: 'Call cancelled' },
      { kind: 'cancelled', reachedServer: 'maybe', code: CANCELLED },
    ],
  ]);
});

describe('an attempt whose stream the application never saw', () => {
  const refused = { code: UNAVAILABLE, details: 'Stream refused by server' };
  const withError = { code: INTERNAL, details: 'Received RST_STREAM with code 2 (Internal server error)' };
  table([
    [
      'is unsent if it was queued when the connection closed',
      { ...SENT, code: UNAVAILABLE, details: 'Connection dropped', wire: { ...OVER, unprocessed: 'never-sent' } },
      { kind: 'unsent', reachedServer: 'no', code: UNAVAILABLE, connectionLost: false },
    ],
    [
      'is unsent if it was queued when a GOAWAY arrived, after which nghttp2 ends it as refused',
      { ...SENT, ...refused, wire: { ...OVER, goawayCode: 0, unprocessed: 'never-sent', resetCode: 7 } },
      { kind: 'unsent', reachedServer: 'no', code: UNAVAILABLE },
    ],
    [
      'is rejected if a GOAWAY named a lower id',
      { ...SENT, ...refused, wire: { ...OVER, goawayCode: 0, unprocessed: 'rejected', resetCode: 7 } },
      {
        kind: 'refused',
        reachedServer: 'no',
        code: UNAVAILABLE,
        details: "Rejected by the server's GOAWAY (UNAVAILABLE: Stream refused by server)",
        connectionLost: false,
      },
    ],
    [
      'is rejected if a GOAWAY with an error named a lower id',
      { ...SENT, ...withError, wire: { ...OVER, goawayCode: 0, unprocessed: 'rejected', resetCode: 2 } },
      { kind: 'refused', reachedServer: 'no', code: UNAVAILABLE },
    ],
    [
      'is committed if its answer had begun',
      { ...BEGUN, ...withError, wire: { ...OVER, goawayCode: 0, unprocessed: 'rejected', resetCode: 2 } },
      { kind: 'committed', reachedServer: 'yes' },
    ],
  ]);
});

describe('an attempt whose stream was reset with REFUSED_STREAM', () => {
  const refused = { code: UNAVAILABLE, details: 'Stream refused by server' };
  table([
    [
      'may have run: a proxy sends it for requests that were processed',
      { ...SENT, ...refused, wire: { ...NOTHING_SEEN, resetCode: 7 } },
      { kind: 'refused', reachedServer: 'maybe', ...refused },
    ],
    [
      'is not refused when a server only sends the text',
      { ...TRAILERS_ONLY, ...refused },
      { kind: 'server', reachedServer: 'yes' },
    ],
    [
      'is not refused when a server only sends the text, without a content-type',
      { ...UNTYPED, ...refused },
      { kind: 'server', reachedServer: 'maybe', connectionLost: false },
    ],
  ]);
});

describe('an attempt whose connection was lost after sending', () => {
  const DISGUISES: readonly (readonly [
    what: string,
    code: StatusCode,
    details: string,
    resetCode: number | undefined,
  ])[] = [
    ['a killed server', UNAVAILABLE, 'Connection dropped', undefined],
    ['a reset connection', UNAVAILABLE, 'read ECONNRESET', undefined],
    ['a connection that timed out', UNAVAILABLE, 'read ETIMEDOUT', undefined],
    ['a socket that went while writing', UNAVAILABLE, 'Write error: write EPIPE', undefined],
    ['a forced stop of a Nest or grpc-js server', CANCELLED, 'Call cancelled', 8],
    [
      'connection age, nginx and haproxy',
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

  it.each(DISGUISES)('is UNAVAILABLE, and may have run: %s', (_, code, details, resetCode) => {
    const verdict = classify({ ...SENT, code, details, wire: { ...OVER, resetCode } });
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

  it('names the code it came with', () => {
    expect(
      classify({ ...SENT, code: CANCELLED, details: 'Call cancelled', wire: { ...OVER, resetCode: 8 } }).details,
    ).toBe('Connection lost after sending (CANCELLED: Call cancelled)');
  });

  it('is UNAVAILABLE whatever the transport says of it', () => {
    expect(classify({ ...SENT, code: UNAVAILABLE, details: 'the wire melted' })).toMatchObject({
      kind: 'connection-lost',
    });
  });

  it.each(DISGUISES)('is not lost when a server says the same of itself: %s', (_, code, details) => {
    expect(classify({ ...TRAILERS_ONLY, code, details })).toEqual({
      kind: 'server',
      reachedServer: 'yes',
      code,
      details,
      retryableHttp: false,
      connectionLost: false,
    });
  });

  it.each(DISGUISES)('is not lost when a server sends the same without a content-type: %s', (_, code, details) => {
    expect(classify({ ...UNTYPED, code, details })).toMatchObject({
      kind: 'server',
      reachedServer: 'maybe',
      code,
      connectionLost: false,
    });
  });

  it.each(DISGUISES)('is not lost when a server sends the same after its headers: %s', (_, code, details) => {
    const wire = { ...NOTHING_SEEN, httpStatus: 200 };
    expect(classify({ ...BEGUN, code, details, wire })).toMatchObject({
      kind: 'committed',
      code,
      connectionLost: false,
    });
  });

  it.each(DISGUISES)('stays committed once headers have come, as UNAVAILABLE: %s', (_, code, details, resetCode) => {
    const verdict = classify({ ...BEGUN, code, details, wire: { ...OVER, httpStatus: 200, resetCode } });
    expect(verdict).toMatchObject({ kind: 'committed', reachedServer: 'yes', code: UNAVAILABLE, connectionLost: true });
    expect(verdict.details).toContain(`Connection lost after the answer had begun (`);
    expect(verdict.details).toContain(details);
  });

  table([
    [
      'stays committed after a message, even without headers',
      { ...SENT, messagesReceived: 1, code: UNAVAILABLE, details: 'Connection dropped', wire: OVER },
      { kind: 'committed', reachedServer: 'yes', connectionLost: true },
    ],
    [
      'asks for less load if its stream was reset with ENHANCE_YOUR_CALM on a connection that lives on',
      {
        ...SENT,
        code: RESOURCE_EXHAUSTED,
        details: 'Bandwidth exhausted or memory limit exceeded',
        wire: { ...NOTHING_SEEN, resetCode: 11 },
      },
      { kind: 'connection-lost', reachedServer: 'maybe', code: UNAVAILABLE, connectionLost: false, overloaded: true },
    ],
    [
      'is lost by any code with which a GOAWAY ended the connection',
      {
        ...SENT,
        code: INTERNAL,
        details: 'Received RST_STREAM with code 1',
        wire: { ...OVER, goawayCode: 1, resetCode: 1 },
      },
      { kind: 'connection-lost', reachedServer: 'maybe', code: UNAVAILABLE, originalCode: INTERNAL },
    ],
    [
      'is not lost by other resets, which stay INTERNAL',
      { ...SENT, code: INTERNAL, details: 'Received RST_STREAM with code 1', wire: { ...NOTHING_SEEN, resetCode: 1 } },
      { kind: 'server', reachedServer: 'maybe', code: INTERNAL, details: 'Received RST_STREAM with code 1' },
    ],
    [
      'is not lost when it is sent without enough security',
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

describe('an answer that is not gRPC', () => {
  it.each([
    [401, UNAUTHENTICATED, false],
    [403, PERMISSION_DENIED, false],
    [404, UNIMPLEMENTED, false],
    [429, UNAVAILABLE, true],
    [500, UNKNOWN, false],
    [502, UNAVAILABLE, true],
    [503, UNAVAILABLE, true],
    [504, UNAVAILABLE, true],
  ])('with HTTP status %i keeps the code of grpc-js', (status, code, retryableHttp) => {
    const details = `Received HTTP status code ${status}`;
    const expected = { kind: 'http', reachedServer: 'maybe', code, details, retryableHttp, connectionLost: false };
    const sent = { ...SENT, code, details, wire: { ...NOTHING_SEEN, httpStatus: status } };
    expect(classify(sent)).toEqual(expected);
    expect(classify({ ...sent, contentType: 'text/html' })).toEqual(expected);
    expect(classify({ ...sent, contentType: 'text/html', headersReceived: true })).toEqual(expected);
  });

  it('is a status of the server if only its text names another HTTP status', () => {
    expect(classify({ ...UNTYPED, code: UNAVAILABLE, details: 'Received HTTP status code 503' })).toMatchObject({
      kind: 'server',
      retryableHttp: false,
    });
  });

  table([
    [
      'is HTTP also when its page was taken for a message',
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
      'is HTTP also as gRPC-Web, which is another protocol',
      { ...SENT, contentType: 'application/grpc-web+proto', code: UNKNOWN, details: 'Received HTTP status code 200' },
      { kind: 'http', code: UNKNOWN },
    ],
    [
      'is gRPC, and no HTTP, when its content-type says so',
      { ...TRAILERS_ONLY, code: UNAVAILABLE, details: 'Received HTTP status code 503' },
      { kind: 'server', reachedServer: 'yes', retryableHttp: false },
    ],
  ]);
});

describe('a status by the server', () => {
  table([
    [
      'is its word, unchanged',
      { ...TRAILERS_ONLY, code: NOT_FOUND, details: 'no such order' },
      { kind: 'server', reachedServer: 'yes', code: NOT_FOUND, details: 'no such order' },
    ],
    [
      'is its word also when it says UNAVAILABLE',
      { ...TRAILERS_ONLY, contentType: 'application/grpc;charset=utf-8', code: UNAVAILABLE, details: 'warming up' },
      { kind: 'server', reachedServer: 'yes', code: UNAVAILABLE, details: 'warming up' },
    ],
    [
      'comes from the server if a space follows the content-type',
      { ...TRAILERS_ONLY, contentType: 'application/grpc ; charset=utf-8', code: UNAVAILABLE, details: 'warming up' },
      { kind: 'server', reachedServer: 'yes', code: UNAVAILABLE, details: 'warming up' },
    ],
    [
      'is its word also when it says its own deadline passed',
      { ...TRAILERS_ONLY, code: DEADLINE_EXCEEDED, details: 'Deadline exceeded after 1s' },
      { kind: 'server', reachedServer: 'yes', code: DEADLINE_EXCEEDED },
    ],
    [
      'is its word also when it says it cancelled',
      { ...TRAILERS_ONLY, code: CANCELLED, details: 'Cancelled on client' },
      { kind: 'server', reachedServer: 'yes', code: CANCELLED },
    ],
    [
      'may be its word where it names no content-type',
      { ...UNTYPED, code: INVALID_ARGUMENT, details: 'id: must be set' },
      { kind: 'server', reachedServer: 'maybe', code: INVALID_ARGUMENT, details: 'id: must be set' },
    ],
    [
      'may be its word where it names no content-type and sends the text of a deadline',
      { ...UNTYPED, code: DEADLINE_EXCEEDED, details: 'Deadline exceeded after 1s' },
      { kind: 'server', reachedServer: 'maybe', code: DEADLINE_EXCEEDED },
    ],
    [
      'may come from the server if only its text is that of a deadline',
      { ...SENT, code: INVALID_ARGUMENT, details: 'Deadline exceeded after 1s' },
      { kind: 'server', reachedServer: 'maybe', code: INVALID_ARGUMENT },
    ],
    [
      'is committed after headers',
      { ...BEGUN, code: NOT_FOUND, details: 'gone' },
      { kind: 'committed', reachedServer: 'yes', code: NOT_FOUND, details: 'gone' },
    ],
    [
      'is committed after messages',
      { ...BEGUN, messagesReceived: 3, code: UNAVAILABLE, details: 'going down' },
      { kind: 'committed', reachedServer: 'yes', code: UNAVAILABLE, details: 'going down', connectionLost: false },
    ],
    [
      'is committed when the server refuses a request as too large',
      {
        ...BEGUN,
        code: RESOURCE_EXHAUSTED,
        details: 'Received message larger than max (5000000 vs 4194304)',
        wire: { ...NOTHING_SEEN, httpStatus: 200 },
      },
      { kind: 'committed', reachedServer: 'yes', code: RESOURCE_EXHAUSTED },
    ],
    [
      'becomes UNKNOWN when it is no number',
      { ...TRAILERS_ONLY, code: NaN, details: 'oops' },
      { kind: 'protocol', code: UNKNOWN, details: 'Received NaN, which is no status code of gRPC: oops' },
    ],
    [
      'becomes UNKNOWN when it is above 16',
      { ...TRAILERS_ONLY, code: 99 },
      { kind: 'protocol', code: UNKNOWN, details: 'Received 99, which is no status code of gRPC' },
    ],
    [
      'becomes UNKNOWN when there is none, as with an encoding we do not know',
      { ...BEGUN, code: undefined as unknown as number, details: undefined as unknown as string },
      { kind: 'protocol', code: UNKNOWN, details: 'Received undefined, which is no status code of gRPC' },
    ],
  ]);
});

describe('a call that the shutdown of a server cut off', () => {
  const STATUSES: readonly (readonly [StatusCode, string])[] = [
    [UNAVAILABLE, 'Cancelling all calls'],
    [UNAVAILABLE, 'enter idle'],
    [UNAVAILABLE, 'Server shutdown'],
    [CANCELLED, 'CANCELLED'],
  ];
  const goaway = { ...OVER, goawayCode: 0, httpStatus: 200 };

  it.each(STATUSES)('is lost with its connection, and may have run: %s %s', (code, details) => {
    for (const contentType of ['application/grpc', undefined]) {
      expect(classify({ ...SENT, code, details, contentType, wire: goaway })).toMatchObject({
        kind: 'connection-lost',
        reachedServer: 'maybe',
        code: UNAVAILABLE,
        originalCode: code,
        connectionLost: true,
      });
    }
  });

  it.each(STATUSES)('was answered if the server sent no GOAWAY: %s %s', (code, details) => {
    expect(classify({ ...TRAILERS_ONLY, code, details, wire: { ...goaway, goawayCode: undefined } })).toMatchObject({
      kind: 'server',
      reachedServer: 'yes',
      code,
    });
  });

  it('was answered with any other text', () => {
    expect(classify({ ...TRAILERS_ONLY, code: UNAVAILABLE, details: 'warming up', wire: goaway })).toMatchObject({
      kind: 'server',
      reachedServer: 'yes',
    });
  });

  it('is committed once headers have come', () => {
    expect(classify({ ...BEGUN, code: UNAVAILABLE, details: 'Server shutdown', wire: goaway })).toMatchObject({
      kind: 'committed',
      connectionLost: false,
    });
  });
});

describe('an attempt that this side ended', () => {
  table([
    [
      'because grpc-js refuses a response that is too large names the option',
      {
        ...BEGUN,
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
      'by the deadline of the call is as far as known: sent',
      { ...SENT, endedHere: 'deadline', code: DEADLINE_EXCEEDED, details: 'too late' },
      { kind: 'deadline', reachedServer: 'maybe', code: DEADLINE_EXCEEDED, details: 'too late' },
    ],
    [
      'by the deadline of the call is as far as known: not sent',
      { ...UNPICKED, endedHere: 'deadline', code: DEADLINE_EXCEEDED },
      { kind: 'deadline', reachedServer: 'no' },
    ],
    [
      'by the deadline of the call is as far as known: answered in part',
      { ...BEGUN, endedHere: 'deadline', code: DEADLINE_EXCEEDED },
      { kind: 'deadline', reachedServer: 'yes' },
    ],
    [
      'by a deadline that grpc-js noticed first is the same',
      {
        ...SENT,
        code: DEADLINE_EXCEEDED,
        details: 'Deadline exceeded after 0.201s,name resolution: 0.001s,remote_addr=127.0.0.1:1',
      },
      { kind: 'deadline', reachedServer: 'maybe' },
    ],
    [
      'by the attempt timeout fails DEADLINE_EXCEEDED',
      { ...SENT, endedHere: 'attempt-timeout', code: CANCELLED, details: 'attempt took longer than 300 ms' },
      { kind: 'attempt-timeout', reachedServer: 'maybe', code: DEADLINE_EXCEEDED },
    ],
    [
      'by the attempt timeout after headers was seen',
      { ...BEGUN, endedHere: 'attempt-timeout', code: CANCELLED },
      { kind: 'attempt-timeout', reachedServer: 'yes', code: DEADLINE_EXCEEDED },
    ],
    [
      'for an idle stream is UNAVAILABLE',
      { ...SENT, endedHere: 'stream-idle', code: CANCELLED, details: 'no message for 300 ms' },
      { kind: 'stream-idle', reachedServer: 'maybe', code: UNAVAILABLE, details: 'no message for 300 ms' },
    ],
    [
      'for an idle stream reached the server if headers had arrived',
      { ...BEGUN, endedHere: 'stream-idle', code: CANCELLED },
      { kind: 'stream-idle', reachedServer: 'yes', code: UNAVAILABLE },
    ],
    [
      'by the caller is cancelled',
      { ...SENT, endedHere: 'cancel', code: CANCELLED, details: 'Cancelled on client' },
      { kind: 'cancelled', reachedServer: 'maybe', code: CANCELLED },
    ],
    [
      'by the caller may have run even before a connection was picked',
      { ...UNPICKED, endedHere: 'cancel', code: CANCELLED },
      { kind: 'cancelled', reachedServer: 'maybe' },
    ],
    [
      'by the caller reached the server if headers had arrived',
      { ...BEGUN, endedHere: 'cancel', code: CANCELLED },
      { kind: 'cancelled', reachedServer: 'yes', code: CANCELLED },
    ],
    [
      'by an interceptor is cancelled, with its text',
      { ...SENT, code: CANCELLED, details: 'I changed my mind' },
      { kind: 'cancelled', reachedServer: 'maybe', code: CANCELLED, details: 'I changed my mind' },
    ],
    [
      'by close is UNAVAILABLE',
      { ...SENT, endedHere: 'closed', code: UNAVAILABLE, details: 'client closed' },
      { kind: 'cancelled', reachedServer: 'maybe', code: UNAVAILABLE },
    ],
    [
      'by close is UNAVAILABLE, even without a status code',
      { ...SENT, endedHere: 'closed', code: NaN },
      { kind: 'cancelled', reachedServer: 'maybe', code: UNAVAILABLE },
    ],
    [
      'for a response that is too large keeps its code',
      { ...BEGUN, endedHere: 'protocol', code: RESOURCE_EXHAUSTED },
      { kind: 'protocol', reachedServer: 'yes', code: RESOURCE_EXHAUSTED },
    ],
    [
      'for an answer that cannot be read was seen',
      {
        ...BEGUN,
        endedHere: 'protocol',
        code: INTERNAL,
        details: 'Response message parsing error: index out of range',
      },
      { kind: 'protocol', reachedServer: 'yes', code: INTERNAL },
    ],
    [
      'for a success without its message is a failure',
      { ...TRAILERS_ONLY, endedHere: 'protocol', code: OK },
      { kind: 'protocol', reachedServer: 'yes', code: INTERNAL },
    ],
    [
      'for a request that cannot be written was never sent',
      { ...UNPICKED, endedHere: 'serialize', code: INTERNAL, details: 'boom' },
      { kind: 'serialize', reachedServer: 'no', code: INTERNAL, details: 'boom' },
    ],
    [
      'for a request that cannot be serialized fails, even if the server returned OK',
      { ...TRAILERS_ONLY, endedHere: 'serialize', code: OK },
      { kind: 'serialize', reachedServer: 'maybe', code: INTERNAL },
    ],
    [
      'for a later request that cannot be written may have been seen',
      { ...SENT, endedHere: 'serialize', code: INTERNAL },
      { kind: 'serialize', reachedServer: 'maybe' },
    ],
    [
      'for a later request that an interceptor cannot write is the same',
      { ...SENT, code: INTERNAL, details: 'Request message serialization failure: boom' },
      { kind: 'serialize', reachedServer: 'maybe', code: INTERNAL },
    ],
    [
      'for a later request that is too large may have been seen',
      { ...SENT, code: RESOURCE_EXHAUSTED, details: 'Attempted to send message with a size larger than 1024' },
      { kind: 'local', reachedServer: 'maybe', code: RESOURCE_EXHAUSTED },
    ],
  ]);
});

describe('any evidence', () => {
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
    picked: fc.boolean(),
    channelReady: fc.boolean(),
    endedHere: fc.constantFrom(
      'no',
      'no',
      'no',
      'deadline',
      'attempt-timeout',
      'cancel',
      'protocol',
      'serialize',
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
        closedHere: fc.boolean(),
        goawayCode: fc.option(fc.nat(13), { nil: undefined }),
        connectionOver: fc.boolean(),
      }),
      { nil: undefined },
    ),
  });

  it('gives a code of gRPC, and OK for a success alone', () => {
    fc.assert(
      fc.property(evidence, (e) => {
        const verdict = classify(e);
        expect(isStatusCode(verdict.code)).toBe(true);
        expect(verdict.kind === 'ok').toBe(verdict.code === OK);
      }),
    );
  });

  it('never says that a server which answered in gRPC was not reached', () => {
    fc.assert(
      fc.property(evidence, (e) => {
        fc.pre(e.picked && e.contentType === 'application/grpc' && e.endedHere === 'no');
        fc.pre(e.wire?.unprocessed === undefined);
        expect(classify(e).reachedServer).not.toBe('no');
      }),
    );
  });

  it('says that the server was not reached only if no connection was picked, or if the connection shows it', () => {
    fc.assert(
      fc.property(evidence, (e) => {
        if (classify(e).reachedServer === 'no' && e.picked) expect(e.wire?.unprocessed).toBeDefined();
      }),
    );
  });
});
