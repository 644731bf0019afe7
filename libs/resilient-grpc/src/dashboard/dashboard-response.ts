import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock, Timer } from '../time/clock.js';
import type { Visitor } from './dashboard-feed.js';
import { createHash } from 'node:crypto';
import { extname } from 'node:path';
import { readPageFiles } from './page-files.js';

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

/** Maximum time in milliseconds that a connection may be blocked before it is closed. */
const MAX_BLOCKED_MS = 30_000;
const MAX_END_FLUSH_MS = 500;

/**
 * Server-sent events to one visitor. While the connection is blocked, `send` drops events, so that they do not queue up for slow readers.
 */
export class EventStream implements Visitor {
  private blocked: Timer | undefined;
  private closed = false;

  constructor(
    private readonly response: ServerResponse,
    private readonly clock: Clock,
    readonly openClient: string | undefined,
    onClosed: () => void,
  ) {
    response.on('drain', () => this.unblock());
    // A failed response needs no handling here, because 'close' follows.
    response.on('error', () => undefined);
    response.once('close', () => {
      this.closed = true;
      this.unblock();
      onClosed();
    });
    response.write('retry: 1000\n\n');
  }

  get isBlocked(): boolean {
    return this.blocked !== undefined;
  }

  send(event: string, json: string): void {
    if (this.closed || this.isBlocked) return;
    if (this.response.write(`event: ${event}\ndata: ${json}\n\n`)) return;
    this.blocked = this.clock.setTimer(() => this.response.destroy(), MAX_BLOCKED_MS);
  }

  end(): void {
    if (this.closed) return;
    this.closed = true;
    this.response.end('event: end\ndata: {}\n\n');
    const cut = this.clock.setTimer(() => this.response.destroy(), MAX_END_FLUSH_MS);
    this.response.once('close', () => cut.clear());
  }

  private unblock(): void {
    this.blocked?.clear();
    this.blocked = undefined;
  }
}

export interface DashboardAsset {
  readonly type: string;
  readonly body: string;
  readonly tag: string;
}

export const PAGE_FILE = 'index.html';

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

export function dashboardAssets(): ReadonlyMap<string, DashboardAsset> {
  return new Map(
    Object.entries(readPageFiles()).map(([name, body]) => {
      const tag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 20)}"`;
      return [name, { body, tag, type: CONTENT_TYPES[extname(name)] ?? 'application/octet-stream' }];
    }),
  );
}
