// Status messages that grpc-js creates (subchannel-call, load-balancing-call, resolving-call, internal-channel). A server can send any of
// them. They count only where there is no other evidence: on grpc-js's transport, if no response arrived (`failureByText`), and for errors of
// plain grpc-js clients (`reasonByText`).

/** REFUSED_STREAM, or a GOAWAY with a lower last stream ID. */
export const STREAM_REFUSED = 'Stream refused by server';
/** RST_STREAM(CANCEL) from the server: a forced stop of a grpc-js or Nest server. */
export const RESET_BY_CANCEL = 'Call cancelled';
/** RST_STREAM(ENHANCE_YOUR_CALM), or a GOAWAY with that code. */
export const RESET_BY_CALM = 'Bandwidth exhausted or memory limit exceeded';
/** Reset without a response: RST_STREAM 0 (connection age, nginx, HAProxy) or 2 (an abrupt end of the session). */
export const RESET_BY_PEER = /^Received RST_STREAM with code [02]\b/;
/** UNAVAILABLE because the connection was lost: the session closed, or the socket reported an error. */
export const DROPPED =
  /^Connection dropped$|^(?:read|write|connect) E[A-Z]+\b|^socket hang up$|^Client network socket disconnected\b|^Write (?:error: |failed with error )/;
/** The client's own deadline passed. */
export const DEADLINE = /^Deadline exceeded\b/;
/** Failed pick; nothing was sent. */
export const NOT_PICKED =
  /^(?:(?:\w+: )?No connection established\b|Name resolution failed\b|Channel closed before call started$|Parsing service config failed\b)/;
/** The picked connection accepts no more streams; nothing was sent. */
export const NOT_STARTED = /^Failed to start HTTP\/2 stream with error\b/;
/** Call credentials failed. The plugin sets the code; INTERNAL replaces a code that gRFC A54 does not allow. */
export const CREDENTIALS_FAILED =
  /^(?:Invalid status from control plane: \d+ [A-Z_]+ )?Getting metadata from plugin failed\b/;
/** Request larger than `grpc.max_send_message_length`. */
export const REQUEST_TOO_LARGE = /^Attempted to send message with a size larger than\b/;
/** Details with which grpc-js, gRPC's C core, grpc-go, and grpc-java reject a request that exceeds a limit of the server. */
export const TOO_LARGE_FOR_SERVER =
  /^((SERVER: |grpc: )?received message larger than max|gRPC message exceeds maximum size)/i;
/**
 * Statuses that a server's transport sends for calls that its shutdown cancels. grpcio sends them on a hard stop, at the end of the
 * connection age, and for streams that arrive after its GOAWAY.
 */
export const SHUTDOWN_STATUSES: ReadonlySet<string> = new Set([
  '14 Cancelling all calls',
  '14 enter idle',
  '14 Server shutdown',
  '1 CANCELLED',
]);

export const HTTP_RESPONSE_REMEDY =
  'check the routes of the proxy and its connection to the server, or use the gRPC port of the server';

export const TRAILERS_REMEDY = 'let proxies and tunnels before the server forward HTTP/2 trailers';

const MAX_CONTENT_TYPE_LENGTH = 80;

/** Describes an HTTP response that is not gRPC. The description begins like the status message of grpc-js. */
export function describeHttpResponse(status: number | undefined, contentType: string | undefined): string {
  const code = status === undefined ? 'an HTTP response' : `HTTP status code ${String(status)}`;
  const type =
    contentType === undefined
      ? 'without a content-type'
      : `with content-type ${contentType.slice(0, MAX_CONTENT_TYPE_LENGTH)}`;
  return `Received ${code} ${type}: a proxy or web server responded instead of the gRPC server`;
}

/**
 * Describes a non-gRPC response; returns `undefined` for any other response. `status` is the HTTP status from which the status of the call was
 * derived; `undefined` if it was not.
 */
export function httpResponseOf(status: number | undefined, contentType: string | undefined): string | undefined {
  const isHttp = contentType === undefined ? status !== undefined : !isGrpcContentType(contentType);
  return isHttp ? describeHttpResponse(status, contentType) : undefined;
}

/** True if `type` is 'application/grpc', even if '+…', ';…', or a space follows it. 'application/grpc-web' is a different protocol. */
export function isGrpcContentType(type: string): boolean {
  return /^application\/grpc(?:$|[+; ])/i.test(type);
}
