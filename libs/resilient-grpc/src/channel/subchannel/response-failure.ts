import { Metadata } from '@grpc/grpc-js';
import type { WireEvidence } from '../../policy/evidence/classify.js';
import type { LocalFailure } from '../../policy/evidence/local-failure.js';
import { STREAM_REFUSED } from '../../policy/evidence/grpc-js-texts.js';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { StatusCode } from '../../status/status-code.js';
import type { ResponseFailure } from '../../transport/grpc/response-stream.js';
import type { WireStatus } from './header-fields.js';
import type { SubchannelConnection } from './subchannel-connection.js';

const { NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY } = HTTP2_ERROR_CODES;

/** Statuses of streams that the peer has reset (gRPC over HTTP/2, "Errors"), with the texts of grpc-js. */
const BY_RESET: Readonly<Record<number, readonly [code: StatusCode, details: string]>> = {
  [NO_ERROR]: [StatusCode.INTERNAL, 'Received RST_STREAM with code 0 (Call ended without gRPC status)'],
  [INTERNAL_ERROR]: [StatusCode.INTERNAL, 'Received RST_STREAM with code 2 (Internal server error)'],
  [REFUSED_STREAM]: [StatusCode.UNAVAILABLE, STREAM_REFUSED],
  [CANCEL]: [StatusCode.CANCELLED, 'Call cancelled'],
  [ENHANCE_YOUR_CALM]: [StatusCode.RESOURCE_EXHAUSTED, 'Bandwidth exhausted or memory limit exceeded'],
  [INADEQUATE_SECURITY]: [StatusCode.PERMISSION_DENIED, 'Protocol not secure enough'],
};

/** Number of header fields of a request that Node's HTTP/2 servers take (`maxHeaderListPairs`). */
const NODE_MAX_FIELDS = 128;
/** Returns the status of a response that failed. `fieldCount` is the number of header fields of the request. */
export function statusOfFailure(
  { cause, code, details, progress, protection }: ResponseFailure,
  fieldCount: number,
  connection: Pick<SubchannelConnection, 'isPeersFault' | 'lossText'>,
): WireStatus {
  const unprocessed = progress === 'never-sent' ? progress : undefined;
  switch (cause) {
    case 'reset':
    case 'no-trailers': {
      const hasTooManyFields = code === ENHANCE_YOUR_CALM && fieldCount > NODE_MAX_FIELDS;
      const [status, text] = hasTooManyFields
        ? tooManyFields(fieldCount)
        : (BY_RESET[code] ?? [StatusCode.INTERNAL, `Received RST_STREAM with code ${String(code)}`]);
      return ended(status, text, {
        unprocessed,
        resetCode: code,
        lacksTrailers: cause === 'no-trailers',
        hasTooManyFields,
      });
    }
    case 'goaway':
      // A peer that has answered contradicts itself.
      return ended(StatusCode.UNAVAILABLE, STREAM_REFUSED, {
        unprocessed: progress === 'answered' ? undefined : (unprocessed ?? 'rejected'),
      });
    case 'lost': {
      // Evidence of the loss whatever the text of the status.
      const resetCode = connection.isPeersFault ? INTERNAL_ERROR : undefined;
      return ended(StatusCode.UNAVAILABLE, connection.lossText(details), { unprocessed, resetCode }, 'dropped');
    }
    case 'too-large': {
      const hasTooLargeHeaders = protection === 'header-list';
      const failure = hasTooLargeHeaders ? undefined : 'response-too-large';
      return ended(StatusCode.RESOURCE_EXHAUSTED, details, { closedHere: true, hasTooLargeHeaders }, failure);
    }
    case 'protocol':
    case 'unreadable':
      return ended(StatusCode.INTERNAL, `Protocol error: ${details}`, { unprocessed, closedHere: true });
  }
}

function tooManyFields(count: number): readonly [code: StatusCode, details: string] {
  const details =
    `The server refused the request, which has ${String(count)} header fields; servers on Node take at most ` +
    `${String(NODE_MAX_FIELDS)}: send less metadata`;
  return [StatusCode.RESOURCE_EXHAUSTED, details];
}

function ended(code: StatusCode, details: string, evidence: Partial<WireEvidence>, failure?: LocalFailure): WireStatus {
  return { code, details, metadata: new Metadata(), failure, evidence };
}
