import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Headers of every response. The page loads nothing from other origins and must not be framed. uPlot sets styles through the CSSOM, which a
 * policy without 'unsafe-inline' allows.
 */
const HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

/** Node's objects as passed by Express, or as wrapped by Fastify. */
type PlatformRequest = IncomingMessage | { readonly raw: IncomingMessage };
type PlatformResponse = ServerResponse | { readonly raw: ServerResponse; hijack(): unknown };

/**
 * One response, written to Node's response object. Writing to this object works with Express and Fastify, and bypasses the application's
 * interceptors, which may wrap the results of handlers.
 */
export class DashboardResponse {
  private readonly request: IncomingMessage;
  readonly raw: ServerResponse;

  /** @param last true to close the connection after the response */
  constructor(request: unknown, response: unknown, last: boolean) {
    // The casts are safe: Nest's HTTP platforms are Express and Fastify.
    const from = request as PlatformRequest;
    const to = response as PlatformResponse;
    this.request = 'raw' in from ? from.raw : from;
    if ('hijack' in to) to.hijack();
    this.raw = 'hijack' in to ? to.raw : to;
    for (const [name, value] of Object.entries(HEADERS)) this.raw.setHeader(name, value);
    if (last) this.close();
  }

  /** True if no response can be sent: the visitor has disconnected, or another part of the application has responded. */
  get isOver(): boolean {
    return this.raw.headersSent || this.raw.destroyed || this.request.socket.destroyed;
  }

  /** Sends `body`, or only status 304 if the browser already has it. */
  file(type: string, body: string, tag: string): void {
    this.raw.setHeader('ETag', tag);
    // Revalidated each time, because the files of the next version have the same names.
    this.raw.setHeader('Cache-Control', 'no-cache');
    if (this.request.headers['if-none-match'] === tag) {
      this.raw.statusCode = 304;
      this.raw.end();
    } else this.send(200, type, body);
  }

  /** @param body the value, or its JSON as a string */
  json(status: number, body: object | string): void {
    this.raw.setHeader('Cache-Control', 'no-store');
    this.send(status, 'application/json; charset=utf-8', typeof body === 'string' ? body : JSON.stringify(body));
  }

  /** Starts an event stream. Returns false for a HEAD request, which receives only the headers. */
  events(): boolean {
    // Prevents proxies from compressing or buffering the stream, because either would delay events until the stream ends.
    this.raw.setHeader('Cache-Control', 'no-store, no-transform');
    this.raw.setHeader('X-Accel-Buffering', 'no');
    this.raw.setHeader('Content-Type', 'text/event-stream; charset=utf-8');
    // Closes the connection after the stream. Otherwise, keep-alive would keep the connection open, and the shutdown would wait for it.
    this.close();
    if (this.request.method === 'HEAD') this.raw.end();
    else this.raw.flushHeaders();
    return this.request.method !== 'HEAD';
  }

  private send(status: number, type: string, body: string): void {
    this.raw.statusCode = status;
    this.raw.setHeader('Content-Type', type);
    this.raw.setHeader('Content-Length', Buffer.byteLength(body));
    this.raw.end(body);
  }

  private close(): void {
    // HTTP/2 has no `Connection` header.
    if (this.request.httpVersionMajor < 2) this.raw.setHeader('Connection', 'close');
  }
}
