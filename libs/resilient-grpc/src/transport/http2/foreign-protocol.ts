const HTTP1_METHOD = /^(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE|CONNECT) /;
/** Starts of the headers of both versions of HAProxy's PROXY protocol. */
const PROXY_PROTOCOL = /^(?:PROXY |\r\n\r\n\0)/;
const HTTP1_TEXT = 'This port serves HTTP/2, and the client has sent HTTP/1.\n';
const HTTP1_ANSWER = Buffer.from(
  `HTTP/1.1 505 HTTP Version Not Supported\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: ${String(HTTP1_TEXT.length)}\r\n\r\n${HTTP1_TEXT}`,
);

/** What a client says that does not begin with the preface of HTTP/2, and an answer that it understands. */
export function foreignProtocol(
  bytes: Buffer,
  isBeginning: boolean,
): { readonly details: string; readonly answer?: Buffer } {
  if (isBeginning && HTTP1_METHOD.test(bytes.toString('latin1', 0, 8)))
    return { details: 'the client speaks HTTP/1', answer: HTTP1_ANSWER };
  if (bytes[0] === 0x16) return { details: 'the client speaks TLS, and this port does not' };
  if (PROXY_PROTOCOL.test(bytes.toString('latin1', 0, 8)))
    return { details: 'the load balancer sends the PROXY protocol, which this server does not read' };
  return { details: 'the client does not begin with the preface of HTTP/2' };
}
