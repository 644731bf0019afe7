import {
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Readable, Writable } from 'node:stream';
import { ONCE_SUFFIX } from '../../policy/once/once-fields.js';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { MessageReader } from '../../transport/grpc/message-reader.js';
import { isNameOf } from '../scripted-server/service-methods.js';

/** The name of an HTTP/2 error code, or any integer from 0 to 2^32−1, assigned or not. */
export type Http2ErrorCode = keyof typeof HTTP2_ERROR_CODES | number;

/**
 * The point at which a call is reset. 'request': before the call is forwarded, so that the upstream never receives it. 'headers': in place
 * of the upstream's response headers, so that the answer of a unary call is lost. `afterRequests`, `afterResponses`: after this many complete messages have passed; 0 means after the
 * headers. 'trailers': after the last message, in place of the trailers.
 */
type ResetPoint =
  'request' | 'headers' | { readonly afterRequests: number } | { readonly afterResponses: number } | 'trailers';

/** A fault that ends a forwarded call: with `RST_STREAM`, or without trailers and therefore without a gRPC status. */
export type StreamFault =
  | {
      readonly kind: 'reset';
      readonly code: Http2ErrorCode;
      /** The point of the reset. A call that ends earlier is not affected. @defaultValue 'request' */
      readonly at?: ResetPoint | undefined;
      /** The side that receives `code`. The other side receives CANCEL, as with real proxies. @defaultValue 'to-client' */
      readonly direction?: 'to-client' | 'to-upstream' | undefined;
    }
  | { readonly kind: 'missing-trailers' };

export type CallFault =
  | StreamFault
  | {
      /**
       * Sends GOAWAY with a last stream ID below the ID of the call's stream. The call is not forwarded to the upstream. If the code is
       * NO_ERROR, earlier calls continue. Otherwise, the connection is closed, and earlier calls fail.
       */
      readonly kind: 'goaway';
      /** @defaultValue 'NO_ERROR' */
      readonly code?: Http2ErrorCode | undefined;
      /** Debug data of the frame, at most 16,376 bytes. @defaultValue none */
      readonly debugData?: string | undefined;
    };

export interface CallFilter {
  /** Name of the method ('Get' or 'Orders/Get'), or its full path. @defaultValue every method */
  readonly method?: string | undefined;
  /** Number of calls, 1 or more, starting with the next one. `Infinity` means until the fault is removed. @defaultValue 1 */
  readonly times?: number | undefined;
}

/** A fault that `failCalls` injects. */
export interface CallRule {
  readonly fault: CallFault;
  readonly method: string | undefined;
  /** Number of further calls that the rule affects. */
  times: number;
}

/** Returns the fault to apply to a call to `path`; `undefined` if no rule matches. Counts the call against the rule's `times`. */
export function claimFault(rules: Set<CallRule>, path: string): CallFault | undefined {
  // A write with a key has a path of its own; see docs/guides/writes.md.
  const own = path.endsWith(ONCE_SUFFIX) ? path.slice(0, -ONCE_SUFFIX.length) : path;
  const rule = [...rules].find(({ method }) => method === undefined || isNameOf(own, method));
  if (rule === undefined) return undefined;
  rule.times -= 1;
  if (rule.times <= 0) rules.delete(rule);
  return rule.fault;
}

export function errorNumber(code: Http2ErrorCode): number {
  return typeof code === 'number' ? code : HTTP2_ERROR_CODES[code];
}

const { CANCEL, NO_ERROR, REFUSED_STREAM } = HTTP2_ERROR_CODES;

// Prevents Node from adding a date header. Node's types lack this option.
const NO_DATE_HEADER = { sendDate: false };

export class ProxiedCall {
  readonly forwarded: ClientHttp2Stream | undefined;
  /** Resolves when the response has been forwarded: to true if the client receives all of it. */
  response: Promise<boolean> = Promise.resolve(false);
  private trailers: IncomingHttpHeaders = {};

  constructor(
    readonly client: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    private readonly upstream: ClientHttp2Session,
    private readonly fault: StreamFault | undefined,
    private readonly onFailed: () => void,
  ) {
    if (this.resetAt('request')) return;
    // Rejects the call as unprocessed (REFUSED_STREAM), because the upstream accepts no calls after its GOAWAY.
    if (upstream.closed || upstream.destroyed) {
      client.close(REFUSED_STREAM);
      return;
    }
    const forwarded = upstream.request(headers);
    this.forwarded = forwarded;
    // Ignored, because the 'close' handler reads the error code of the stream.
    forwarded.on('error', () => undefined);
    forwarded.once('response', (received, flags) => {
      const isTrailersOnly = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      this.response = this.respond(forwarded, received, isTrailersOnly);
    });
    forwarded.once('trailers', (trailers: IncomingHttpHeaders) => {
      this.trailers = trailers;
    });
    forwarded.once('close', () => void this.passEnd(forwarded.rstCode));
    client.once('close', () => forwarded.close(client.rstCode));
    void this.request(forwarded);
  }

  rejectUnprocessed(): void {
    this.end(REFUSED_STREAM, CANCEL);
  }

  private async request(forwarded: ClientHttp2Stream): Promise<void> {
    const end = await pump(this.client, forwarded, this.messagesBefore('afterRequests'));
    if (end === 'reached') this.reset();
    // Node ends the readable side on a reset, too, so `aborted` must be checked.
    else if (end === 'ended' && !this.client.aborted) forwarded.end();
  }

  private async respond(
    forwarded: ClientHttp2Stream,
    headers: IncomingHttpHeaders,
    isTrailersOnly: boolean,
  ): Promise<boolean> {
    const { client } = this;
    if (this.isOver() || this.resetAt('headers')) return false;
    if (isTrailersOnly) {
      if (this.resetAt('trailers')) return false;
      client.respond(this.withStatus(headers), { ...NO_DATE_HEADER, endStream: true });
      return true;
    }
    client.respond(headers, { ...NO_DATE_HEADER, waitForTrailers: true });
    const end = await pump(forwarded, client, this.messagesBefore('afterResponses'));
    if (end === 'reached') this.reset();
    if (end !== 'ended' || forwarded.rstCode !== NO_ERROR || this.isOver() || this.resetAt('trailers')) return false;
    await new Promise<void>((resolve) => {
      client.once('close', resolve);
      client.once('wantTrailers', () => {
        // Without fields, Node sends an empty frame that ends the stream.
        client.sendTrailers(this.withStatus(this.trailers));
        resolve();
      });
      client.end();
    });
    return true;
  }

  /** Returns trailers, or the fields of a trailers-only response, without the gRPC status if that is the fault of the call. */
  private withStatus(fields: IncomingHttpHeaders): IncomingHttpHeaders {
    if (this.fault?.kind !== 'missing-trailers') return fields;
    this.onFailed();
    return Object.fromEntries(Object.entries(fields).filter(([name]) => /^(:|content-type$)/.test(name)));
  }

  /** Ends the client's stream like the upstream's, unless the whole connection was lost, or the client receives a complete response. */
  private async passEnd(code: number): Promise<void> {
    if (this.upstream.destroyed || (code === NO_ERROR && (await this.response))) return;
    if (!this.isOver()) this.client.close(code);
  }

  private messagesBefore(point: 'afterRequests' | 'afterResponses'): number {
    const at: Partial<Record<typeof point, number>> | string | undefined =
      this.fault?.kind === 'reset' ? this.fault.at : undefined;
    return (typeof at === 'object' ? at[point] : undefined) ?? Infinity;
  }

  private resetAt(point: 'request' | 'headers' | 'trailers'): boolean {
    if (this.fault?.kind !== 'reset' || (this.fault.at ?? 'request') !== point) return false;
    this.reset();
    return true;
  }

  private reset(): void {
    if (this.fault?.kind !== 'reset' || this.isOver()) return;
    this.onFailed();
    const code = errorNumber(this.fault.code);
    if (this.fault.direction === 'to-upstream') this.end(CANCEL, code);
    else this.end(code, CANCEL);
  }

  private end(toClient: number, toUpstream: number): void {
    // The upstream's stream first, because it would otherwise be closed with the code of the client's stream.
    this.forwarded?.close(toUpstream);
    if (!this.isOver()) this.client.close(toClient);
  }

  private isOver(): boolean {
    return this.client.closed || this.client.destroyed;
  }
}

/**
 * Forwards the data of `source` at the pace of `sink`: all data ('ended'), or up to the end of message number `messages` ('reached').
 * Resolves to 'cut' if the source or the sink is lost.
 */
async function pump(source: Readable, sink: Writable, messages: number): Promise<'ended' | 'reached' | 'cut'> {
  if (messages === 0) return 'reached';
  let left = messages;
  const complete: Buffer[] = [];
  const keep = (message: Buffer, isCompressed: boolean): void => {
    const prefix = Buffer.from([Number(isCompressed), 0, 0, 0, 0]);
    prefix.writeUInt32BE(message.length, 1);
    complete.push(Buffer.concat([prefix, message]));
  };
  const reader = new MessageReader({ message: keep }, Infinity);
  let settle = (): void => undefined;
  sink.once('close', () => settle());
  try {
    // The source is not destroyed at the end, because a reset that follows ends both streams with its own code.
    for await (const chunk of source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (!sink.writable) return 'cut';
      if (messages !== Infinity) reader.read(chunk, 0, chunk.length);
      const bytes = messages === Infinity ? chunk : Buffer.concat(complete.slice(0, left));
      left -= complete.splice(0).length;
      await new Promise<void>((resolve) => {
        settle = resolve;
        sink.write(bytes, () => resolve());
      });
      if (left <= 0) return 'reached';
    }
    return 'ended';
  } catch {
    return 'cut';
  }
}
