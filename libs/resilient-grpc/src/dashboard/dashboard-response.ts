import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * On everything the dashboard answers. The page needs nothing of anybody else, and nobody may put it into a frame; uPlot sets styles
 * by the CSSOM, which a policy without 'unsafe-inline' allows.
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

/** What Express hands over, and what Fastify wraps. */
type PlatformRequest = IncomingMessage | { readonly raw: IncomingMessage };
type PlatformResponse = ServerResponse | { readonly raw: ServerResponse; hijack(): unknown };

/**
 * One answer, written to Node's own response: the same on every platform, and out of reach of interceptors of the application that
 * wrap what handlers return.
 */
export class DashboardResponse {
  private readonly request: IncomingMessage;
  readonly raw: ServerResponse;

  /** @param last the connection is not kept for another request */
  constructor(request: unknown, response: unknown, last: boolean) {
    // True: Nest's platforms are Express and Fastify.
    const from = request as PlatformRequest;
    const to = response as PlatformResponse;
    this.request = 'raw' in from ? from.raw : from;
    if ('hijack' in to) to.hijack();
    this.raw = 'hijack' in to ? to.raw : to;
    for (const [name, value] of Object.entries(HEADERS)) this.raw.setHeader(name, value);
    if (last) this.close();
  }

  /** There is nobody to answer: the visitor has gone, or something else of the application has answered. */
  get isOver(): boolean {
    return this.raw.headersSent || this.raw.destroyed || this.request.socket.destroyed;
  }

  /** Sends `body`, or nothing where the browser has it already. */
  file(type: string, body: Buffer | string, tag: string): void {
    this.raw.setHeader('ETag', tag);
    // Asked for each time: the files of the next version have the same names.
    this.raw.setHeader('Cache-Control', 'no-cache');
    if (this.request.headers['if-none-match'] === tag) {
      this.raw.statusCode = 304;
      this.raw.end();
    } else this.send(200, type, body);
  }

  json(status: number, value: unknown): void {
    this.raw.setHeader('Cache-Control', 'no-store');
    this.send(status, 'application/json; charset=utf-8', JSON.stringify(value));
  }

  /** Begins a stream of events; false where only its headers were asked for. */
  events(): boolean {
    // Neither compressed nor buffered on the way, where it would not come through before its end.
    this.raw.setHeader('Cache-Control', 'no-store, no-transform');
    this.raw.setHeader('X-Accel-Buffering', 'no');
    this.raw.setHeader('Content-Type', 'text/event-stream; charset=utf-8');
    // Or the connection would outlive the stream, and the shutdown wait for it.
    this.close();
    if (this.request.method === 'HEAD') this.raw.end();
    else this.raw.flushHeaders();
    return this.request.method !== 'HEAD';
  }

  private send(status: number, type: string, body: Buffer | string): void {
    this.raw.statusCode = status;
    this.raw.setHeader('Content-Type', type);
    this.raw.setHeader('Content-Length', Buffer.byteLength(body));
    this.raw.end(body);
  }

  private close(): void {
    // HTTP/2 has no such header.
    if (this.request.httpVersionMajor < 2) this.raw.setHeader('Connection', 'close');
  }
}
