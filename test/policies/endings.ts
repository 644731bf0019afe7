import { constants } from 'node:http2';
import type { FailureReason, ReachedServer } from 'nestjs-resilient-grpc';
import type { FrameRequest } from '../support/frame-server.js';
import { goaway, half } from '../unit-support/frames.js';

/** One way in which a server ends a request that it has received, and the outcome. */
export interface Ending {
  readonly ending: string;
  action(request: FrameRequest): void | Promise<void>;
  /** The outcome of one write: 'OK', or the error's `reason` and `reachedServer`. */
  readonly outcome: 'OK' | `${FailureReason}, ${ReachedServer}`;
  /** Number of HEADERS frames sent on the wire for this write. @defaultValue 1 */
  readonly sent?: number;
  /** Number of HEADERS frames that plain grpc-js sends for the same write. @defaultValue 1 */
  readonly sentByGrpcJs?: number;
  /** Number of requests of the write that end this way. Later requests succeed. @defaultValue all */
  readonly times?: number;
}

const REFUSED = constants.NGHTTP2_REFUSED_STREAM;
const { NGHTTP2_CANCEL: CANCEL, NGHTTP2_INTERNAL_ERROR: INTERNAL } = constants;
const { NGHTTP2_PROTOCOL_ERROR: PROTOCOL, NGHTTP2_ENHANCE_YOUR_CALM: CALM } = constants;
const NO_ERROR = 0;
const ALL = 2 ** 31 - 1;
const [CANCELLED, UNKNOWN, NOT_FOUND, ABORTED, INTERNAL_STATUS, UNAVAILABLE] = [1, 2, 5, 10, 13, 14];
const GRPC = { 'content-type': 'application/grpc' };

type Action = Ending['action'];

/** Returns a frame to send on the stream of a request. */
type Frame = (request: FrameRequest) => Buffer;

const writing =
  (...parts: readonly Frame[]): Action =>
  (request) => {
    request.connection.write(...parts.map((part) => part(request)));
  };

const inSequence =
  (...actions: readonly Action[]): Action =>
  async (request) => {
    for (const action of actions) {
      await action(request);
      await request.connection.waitUntilRead();
    }
  };

const status = (code: number, text: string, fields: Readonly<Record<string, string>> = GRPC): Action =>
  writing((request) => request.status({ ...fields, 'grpc-status': String(code), 'grpc-message': encodeURI(text) }));
const headersFrame: Frame = (request) => request.headers();
const messageFrame: Frame = (request) => request.message();
const successFrame: Frame = (request) => request.success();
const endFrame: Frame = (request) => request.end();
const resetFrame = (code: number) => (request: FrameRequest) => request.reset(code);
const halfOf = (frame: Frame) => writing((request) => half(frame(request)));
const headers = writing(headersFrame);
const message = writing(messageFrame);
const trailers = (code: number, text?: string): Action => writing((request) => request.trailers(code, text));
const reset = (code: number): Action => writing(resetFrame(code));
const succeed = writing(successFrame);
const fin: Action = ({ connection }) => void connection.socket.end();
const rst: Action = ({ connection }) => void connection.socket.resetAndDestroy();

/** ID of the client's stream before that of `request`; 0 if there is no such stream. */
const previousStreamId = ({ streamId }: FrameRequest) => Math.max(0, streamId - 2);
const atFrame: Frame = (request) => goaway(request.streamId, NO_ERROR);
const belowFrame: Frame = (request) => goaway(previousStreamId(request), NO_ERROR);
/** GOAWAY with a last stream ID below the request's stream, which means that the server has not processed the request. */
const goawayBelow =
  (code = NO_ERROR): Action =>
  (request) => {
    request.connection.goaway(previousStreamId(request), code);
  };
/** Returns the frame that `goawayBelow` sends, and records its last stream ID. */
const goawayBelowFrame = (code: number) => (request: FrameRequest) => {
  request.connection.lastStreamId = previousStreamId(request);
  return goaway(previousStreamId(request), code);
};
/** GOAWAY whose last stream ID is that of the request's own stream. */
const goawayAt =
  (code = NO_ERROR): Action =>
  ({ connection, streamId }) => {
    connection.goaway(streamId, code);
  };
/** GOAWAY with the highest last stream ID, which rejects no request. */
const goawayAboveAll =
  (code = NO_ERROR): Action =>
  ({ connection }) => {
    connection.goaway(ALL, code);
  };

/** Ends the request with the status that a server sends while it shuts down. */
export const cancelled: Action = status(CANCELLED, 'CANCELLED');
/** Ends the request as `cancelled` does, and sends GOAWAY after the client has read the status. */
export const cancelledBeforeGoaway: Action = inSequence(cancelled, goawayAt());

const LOST = 'connection-lost, maybe';
const LOST_DURING_RESPONSE = 'connection-lost, yes';
const ANSWERED = 'server, yes';
/** A status that may come from a proxy: it has no content-type, or is UNAVAILABLE or CANCELLED without headers. */
const UNPROVEN = 'server, maybe';

/** Complete responses. The message of a status has no effect, except while the server's transport shuts down. */
const STATUSES: readonly Ending[] = [
  ...['Stream refused by server', 'No connection established', 'Connection dropped', 'Cancelling all calls'].flatMap(
    (text): Ending[] => [
      { ending: `UNAVAILABLE '${text}'`, action: status(UNAVAILABLE, text), outcome: UNPROVEN },
      {
        ending: `UNAVAILABLE '${text}' without content-type`,
        action: status(UNAVAILABLE, text, {}),
        outcome: UNPROVEN,
      },
      {
        ending: `headers, then UNAVAILABLE '${text}'`,
        action: inSequence(headers, trailers(UNAVAILABLE, text)),
        outcome: ANSWERED,
      },
    ],
  ),
  {
    ending: "INTERNAL 'Received RST_STREAM with code 2 (Internal server error)' without content-type",
    action: status(INTERNAL_STATUS, 'Received RST_STREAM with code 2 (Internal server error)', {}),
    outcome: UNPROVEN,
  },
  {
    ending: "CANCELLED 'Call cancelled' without content-type",
    action: status(CANCELLED, 'Call cancelled', {}),
    outcome: UNPROVEN,
  },
  { ending: "CANCELLED 'CANCELLED'", action: cancelled, outcome: UNPROVEN },
  { ending: 'ABORTED', action: status(ABORTED, 'again'), outcome: ANSWERED },
  { ending: 'NOT_FOUND without content-type', action: status(NOT_FOUND, 'no tea', {}), outcome: UNPROVEN },
  {
    ending: 'UNAVAILABLE with a pushback of 0 ms',
    action: status(UNAVAILABLE, 'again', { ...GRPC, 'grpc-retry-pushback-ms': '0' }),
    outcome: UNPROVEN,
  },
  { ending: 'a message, then UNKNOWN', action: inSequence(headers, message, trailers(UNKNOWN)), outcome: ANSWERED },
  {
    ending: 'HTTP 503 without a gRPC status',
    action: writing((request) => request.status({ ':status': '503', 'content-type': 'text/html' })),
    outcome: 'http, maybe',
  },
  { ending: 'success', action: succeed, outcome: 'OK' },
];

/** Statuses around a GOAWAY: those that a transport sends instead of a reset while it shuts down, and those of applications. */
const SHUTDOWN_STATUSES: readonly Ending[] = [
  ...[
    { code: UNAVAILABLE, text: 'Cancelling all calls' },
    { code: UNAVAILABLE, text: 'enter idle' },
    { code: UNAVAILABLE, text: 'Server shutdown' },
    { code: CANCELLED, text: 'CANCELLED' },
  ].flatMap(({ code, text }): Ending[] => [
    {
      ending: `GOAWAY at the request, then ${code} '${text}'`,
      action: inSequence(goawayAt(), status(code, text)),
      outcome: LOST,
    },
    {
      ending: `headers, GOAWAY at the request, then ${code} '${text}'`,
      action: inSequence(headers, goawayAt(), trailers(code, text)),
      outcome: ANSWERED,
    },
  ]),
  {
    ending: "GOAWAY above all requests and CANCELLED 'CANCELLED' in one write",
    action: writing(
      () => goaway(ALL, NO_ERROR),
      (request) => request.status({ ...GRPC, 'grpc-status': '1', 'grpc-message': 'CANCELLED' }),
    ),
    outcome: LOST,
  },
  // The outcome is the status, because only a call that is safe to repeat waits for the GOAWAY.
  {
    ending: "CANCELLED 'CANCELLED', then GOAWAY at the request",
    action: cancelledBeforeGoaway,
    outcome: UNPROVEN,
  },
  {
    ending: "GOAWAY at the request, then UNAVAILABLE 'out of tea'",
    action: inSequence(goawayAt(), status(UNAVAILABLE, 'out of tea')),
    outcome: UNPROVEN,
  },
  {
    ending: "GOAWAY at the request, then CANCELLED 'by the application'",
    action: inSequence(goawayAt(), status(CANCELLED, 'by the application')),
    outcome: UNPROVEN,
  },
  {
    ending: "GOAWAY at the request, then UNAVAILABLE 'Stream refused by server' without content-type",
    action: inSequence(goawayAt(), status(UNAVAILABLE, 'Stream refused by server', {})),
    outcome: UNPROVEN,
  },
];

/** RST_STREAM codes that can mean a lost connection. */
const CODES_OF_LOST_CONNECTIONS = new Set([NO_ERROR, INTERNAL, CANCEL, CALM]);
const CODES = Array.from({ length: 14 }, (_, code) => code);

const RESETS: readonly Ending[] = [
  ...CODES.filter((code) => code !== REFUSED).map((code): Ending => ({
    ending: `RST_STREAM ${code}`,
    action: reset(code),
    outcome: CODES_OF_LOST_CONNECTIONS.has(code) ? LOST : UNPROVEN,
  })),
  // The write is not resent, because a proxy can send REFUSED_STREAM for requests that its backend has executed.
  { ending: 'RST_STREAM 7 (REFUSED_STREAM)', action: reset(REFUSED), outcome: 'refused, maybe', sentByGrpcJs: 2 },
  ...CODES.map((code): Ending => ({
    ending: `headers, then RST_STREAM ${code}`,
    action: inSequence(headers, reset(code)),
    outcome: CODES_OF_LOST_CONNECTIONS.has(code) ? LOST_DURING_RESPONSE : ANSWERED,
  })),
  {
    ending: 'headers, a message, then RST_STREAM 7 (REFUSED_STREAM)',
    action: inSequence(headers, message, reset(REFUSED)),
    outcome: ANSWERED,
  },
];

/** Outcome of a write whose first request the server does not process. The second request succeeds. */
const UNPROCESSED_ONCE = { outcome: 'OK', sent: 2, times: 1 } as const;
/**
 * Outcome of a write whose first two requests the server does not process. The first resend is immediate; the second one follows the
 * default retry policy.
 */
const UNPROCESSED_TWICE = { outcome: 'OK', sent: 3, times: 2 } as const;

const GOAWAYS: readonly Ending[] = [
  { ending: 'GOAWAY below the request, twice', action: goawayBelow(), ...UNPROCESSED_TWICE, sentByGrpcJs: 2 },
  { ending: 'GOAWAY below the request', action: goawayBelow(), ...UNPROCESSED_ONCE, sentByGrpcJs: 2 },
  // Node ends all streams with the code of a GOAWAY if the code is not NO_ERROR, regardless of the IDs of the streams.
  ...[PROTOCOL, INTERNAL, CANCEL, CALM].flatMap((code): Ending[] => [
    { ending: `GOAWAY with code ${code} below the request`, action: goawayBelow(code), ...UNPROCESSED_ONCE },
    { ending: `GOAWAY with code ${code} at the request`, action: goawayAt(code), outcome: LOST },
    { ending: `GOAWAY with code ${code} above all requests`, action: goawayAboveAll(code), outcome: LOST },
  ]),
  { ending: 'GOAWAY at the request, then success', action: inSequence(goawayAt(), succeed), outcome: 'OK' },
  { ending: 'GOAWAY above all requests, then success', action: inSequence(goawayAboveAll(), succeed), outcome: 'OK' },
  ...[
    { how: 'FIN', end: fin },
    { how: 'RST', end: rst },
  ].flatMap(({ how, end }): Ending[] => [
    { ending: `GOAWAY at the request, then ${how}`, action: inSequence(goawayAt(), end), outcome: LOST },
    { ending: `GOAWAY above all requests, then ${how}`, action: inSequence(goawayAboveAll(), end), outcome: LOST },
    {
      ending: `GOAWAY below the request, then ${how}`,
      action: inSequence(goawayBelow(), end),
      ...UNPROCESSED_ONCE,
      sentByGrpcJs: 2,
    },
  ]),
  {
    ending: 'GOAWAY at the request, then RST_STREAM 7 (REFUSED_STREAM)',
    action: inSequence(goawayAt(), reset(REFUSED)),
    outcome: 'refused, maybe',
    sentByGrpcJs: 2,
  },
  {
    ending: 'GOAWAY above all requests, then RST_STREAM 7 (REFUSED_STREAM)',
    action: inSequence(goawayAboveAll(), reset(REFUSED)),
    outcome: 'refused, maybe',
    sentByGrpcJs: 2,
  },
  {
    ending: 'GOAWAY above all requests, then RST_STREAM 8 (CANCEL)',
    action: inSequence(goawayAboveAll(), reset(CANCEL)),
    outcome: LOST,
  },
];

const SEQUENCES: readonly Ending[] = [
  {
    ending: 'GOAWAY above all requests, then GOAWAY below the request',
    action: inSequence(goawayAboveAll(), goawayBelow()),
    ...UNPROCESSED_ONCE,
    sentByGrpcJs: 2,
  },
  {
    ending: 'GOAWAY above all requests, then GOAWAY at the request, then success',
    action: inSequence(goawayAboveAll(), goawayAt(), succeed),
    outcome: 'OK',
  },
  {
    ending: 'GOAWAY above all requests, then GOAWAY at the request, then FIN',
    action: inSequence(goawayAboveAll(), goawayAt(), fin),
    outcome: LOST,
  },
  {
    ending: 'GOAWAY at the request, then GOAWAY with code 2 below the request',
    action: inSequence(goawayAt(), goawayBelow(INTERNAL)),
    ...UNPROCESSED_ONCE,
  },
  {
    ending: 'GOAWAY below the request and RST_STREAM 7 (REFUSED_STREAM) in one write',
    action: writing(goawayBelowFrame(NO_ERROR), resetFrame(REFUSED)),
    ...UNPROCESSED_ONCE,
    sentByGrpcJs: 2,
  },
  {
    ending: 'GOAWAY below the request and FIN in one write',
    action: inSequenceWithoutReading(writing(goawayBelowFrame(NO_ERROR)), fin),
    ...UNPROCESSED_ONCE,
    sentByGrpcJs: 2,
  },
  {
    ending: 'GOAWAY with code 2 below the request and FIN in one write',
    action: inSequenceWithoutReading(writing(goawayBelowFrame(INTERNAL)), fin),
    ...UNPROCESSED_ONCE,
  },
  {
    ending: 'GOAWAY at the request, RST_STREAM 8 (CANCEL), and FIN in one write',
    action: inSequenceWithoutReading(writing(atFrame, resetFrame(CANCEL)), fin),
    outcome: LOST,
  },
  // If a server contradicts itself, its first response applies.
  {
    ending: 'RST_STREAM 7 (REFUSED_STREAM) and GOAWAY below the request in one write',
    action: writing(resetFrame(REFUSED), belowFrame),
    outcome: 'refused, maybe',
  },
  {
    ending: 'UNAVAILABLE and GOAWAY below the request in one write',
    action: writing((request) => request.status({ ...GRPC, 'grpc-status': String(UNAVAILABLE) }), belowFrame),
    outcome: UNPROVEN,
  },
  {
    ending: 'headers and GOAWAY below the request in one write',
    action: writing(headersFrame, belowFrame),
    outcome: ANSWERED,
  },
  {
    ending: 'RST_STREAM 7 (REFUSED_STREAM), then GOAWAY below the request',
    action: inSequence(reset(REFUSED), writing(belowFrame)),
    outcome: 'refused, maybe',
    sentByGrpcJs: 2,
  },
  {
    ending: 'RST_STREAM 8 (CANCEL), then GOAWAY at the request',
    action: inSequence(reset(CANCEL), goawayAt()),
    outcome: LOST,
  },
  {
    ending: 'headers, then GOAWAY below the request',
    action: inSequence(headers, writing(belowFrame)),
    outcome: ANSWERED,
  },
  {
    ending: 'success and GOAWAY below the request in one write',
    action: writing(successFrame, belowFrame),
    outcome: 'OK',
  },
];

const SOCKETS: readonly Ending[] = [
  { ending: 'FIN', action: fin, outcome: LOST },
  { ending: 'RST', action: rst, outcome: LOST },
  {
    ending: 'half a HEADERS frame, then FIN',
    action: inSequenceWithoutReading(halfOf(headersFrame), fin),
    outcome: LOST,
  },
  {
    ending: 'half an RST_STREAM frame (REFUSED_STREAM), then FIN',
    action: inSequenceWithoutReading(halfOf(resetFrame(REFUSED)), fin),
    outcome: LOST,
  },
  {
    ending: 'half a GOAWAY frame below the request, then FIN',
    action: inSequenceWithoutReading(halfOf(belowFrame), fin),
    outcome: LOST,
  },
  { ending: 'headers, then FIN', action: inSequence(headers, fin), outcome: LOST_DURING_RESPONSE },
  { ending: 'headers, then RST', action: inSequence(headers, rst), outcome: LOST_DURING_RESPONSE },
  {
    ending: 'headers, half a DATA frame, then FIN',
    action: inSequenceWithoutReading(
      writing((request) => Buffer.concat([request.headers(), half(request.message())])),
      fin,
    ),
    outcome: LOST_DURING_RESPONSE,
  },
  { ending: 'headers, a message, then FIN', action: inSequence(headers, message, fin), outcome: LOST_DURING_RESPONSE },
  {
    ending: 'headers, a message, then the end of the stream without trailers',
    action: writing(headersFrame, messageFrame, endFrame),
    outcome: 'trailers-missing, yes',
  },
  {
    ending: 'headers, then the end of the stream without trailers',
    action: writing(headersFrame, endFrame),
    outcome: LOST_DURING_RESPONSE,
  },
];

function inSequenceWithoutReading(...actions: readonly Action[]): Action {
  return async (request) => {
    for (const action of actions) await action(request);
  };
}

/** All endings of a request that the server has received. */
export const ENDINGS: readonly Ending[] = [
  ...STATUSES,
  ...SHUTDOWN_STATUSES,
  ...RESETS,
  ...GOAWAYS,
  ...SEQUENCES,
  ...SOCKETS,
];

/**
 * Events on a connection that allows one stream (MAX_CONCURRENT_STREAMS is 1), which another request is using. `action` receives that
 * request. The write is still queued in the client.
 */
export const ENDINGS_BEFORE_SENT: readonly Pick<Ending, 'ending' | 'action'>[] = [
  { ending: 'the other request is answered', action: succeed },
  { ending: 'the other request gets RST_STREAM 7', action: reset(REFUSED) },
  { ending: 'FIN', action: fin },
  { ending: 'RST', action: rst },
  { ending: 'half a frame, then FIN', action: inSequenceWithoutReading(halfOf(headersFrame), fin) },
  { ending: 'GOAWAY at the other request', action: goawayAt() },
  { ending: 'GOAWAY at the other request, then FIN', action: inSequence(goawayAt(), fin) },
  { ending: 'GOAWAY at the other request, then success', action: inSequence(goawayAt(), succeed) },
  { ending: 'GOAWAY above all requests', action: goawayAboveAll() },
  { ending: 'GOAWAY above all requests, then success', action: inSequence(goawayAboveAll(), succeed) },
  { ending: 'GOAWAY above all requests, then FIN', action: inSequence(goawayAboveAll(), fin) },
  {
    ending: 'GOAWAY above all requests, then GOAWAY at the other request',
    action: inSequence(goawayAboveAll(), goawayAt()),
  },
  { ending: 'GOAWAY above all requests, then RST_STREAM 8', action: inSequence(goawayAboveAll(), reset(CANCEL)) },
  {
    ending: 'GOAWAY above all requests, then GOAWAY at the other request, then success',
    action: inSequence(goawayAboveAll(), goawayAt(), succeed),
  },
  { ending: 'GOAWAY below the other request', action: goawayBelow() },
  ...[PROTOCOL, INTERNAL, CALM].flatMap((code) => [
    { ending: `GOAWAY with code ${code} at the other request`, action: goawayAt(code) },
    { ending: `GOAWAY with code ${code} below the other request`, action: goawayBelow(code) },
  ]),
];

/** Ways in which a server ends many requests on one connection. */
export const ENDINGS_TOGETHER: readonly (readonly [string, (requests: readonly FrameRequest[]) => Promise<void>])[] = [
  [
    "GOAWAY, then each request gets UNAVAILABLE 'Cancelling all calls'",
    together(status(UNAVAILABLE, 'Cancelling all calls')),
  ],
  ["GOAWAY, then each request gets CANCELLED 'CANCELLED'", together(status(CANCELLED, 'CANCELLED'))],
  ['GOAWAY, then each request gets RST_STREAM 8 (CANCEL)', together(reset(CANCEL))],
  [
    'GOAWAY, then statuses, resets, and the end of the connection',
    together((request) => {
      if (request.streamId % 3 === 0) return status(UNAVAILABLE, 'Server shutdown')(request);
      if (request.streamId % 3 === 1) return reset(CANCEL)(request);
      return fin(request);
    }),
  ],
];

function together(action: Action): (requests: readonly FrameRequest[]) => Promise<void> {
  return async (requests) => {
    const { connection } = requests[0]!;
    connection.goaway(ALL);
    await connection.waitUntilRead();
    // The requests whose endings close the connection are last.
    const ordered = [...requests].sort((a, b) => Number(a.streamId % 3 === 2) - Number(b.streamId % 3 === 2));
    for (const request of ordered) await action(request);
  };
}
