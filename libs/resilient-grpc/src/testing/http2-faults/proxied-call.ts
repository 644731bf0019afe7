import { constants } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { Wait } from '../../time/wait.js';
import { realClock } from '../real-clock.js';
import { errorNumber } from './http2-faults.js';
import type { MissingTrailersFault, ResetFault, ResetPoint } from './http2-faults.js';
import { pump } from './pump.js';

/** Header fields as received: name, value, name, value. */
export type RawFields = readonly string[];

const { CANCEL, NO_ERROR, REFUSED_STREAM } = HTTP2_ERROR_CODES;

/** Maximum delay of a reset in milliseconds, while the messages that arrived before it wait for flow control. */
const MAX_RESET_DELAY_MS = 100;

// Prevents Node from adding a date header. Node's types lack this option.
const NO_DATE_HEADER = { sendDate: false };

/** A call received from the client. */
export interface IncomingCall {
  readonly id: number;
  readonly stream: ServerHttp2Stream;
  readonly headers: RawFields;
  /** True if the stream ended with its headers, without a message. */
  readonly ended: boolean;
  /** The fault to inject into the call. */
  readonly fault: ResetFault | MissingTrailersFault | undefined;
}

/** Callbacks with which a call notifies its session, and the state of the session's connections. */
export interface ProxiedCallCallbacks {
  /** True if both connections are open. A stream that ends with its connection must not be reset. */
  readonly connected: boolean;
  /** Resolves when all pending output to the client has been written. */
  clientIdle(): Promise<void>;
  /** Called when the fault has taken effect. */
  onFailed(): void;
}

/** A proxied call: the client's stream and the corresponding upstream stream. */
export class ProxiedCall {
  /** ID of the client's stream. */
  readonly id: number;
  /** Resolves when the end of the call has been sent to the client, or the client's stream is closed. */
  readonly notified: Promise<void>;
  private notify: () => void = () => undefined;
  private readonly client: ServerHttp2Stream;
  private readonly fault: ResetFault | MissingTrailersFault | undefined;
  private readonly callbacks: ProxiedCallCallbacks;
  private readonly upstream: ClientHttp2Stream | undefined;
  private trailers: RawFields = [];
  private requests: Promise<void> | undefined;
  private response: Promise<boolean> | undefined;

  constructor(
    { id, stream, headers, ended, fault }: IncomingCall,
    upstream: ClientHttp2Session,
    callbacks: ProxiedCallCallbacks,
  ) {
    this.id = id;
    this.client = stream;
    this.fault = fault;
    this.callbacks = callbacks;
    this.notified = new Promise((resolve) => {
      this.notify = resolve;
      stream.once('close', resolve);
    });
    if (this.resetAt('request')) return;
    // Rejects the call as unprocessed (REFUSED_STREAM), because the upstream accepts no calls after its GOAWAY.
    if (upstream.closed || upstream.destroyed) {
      this.end(REFUSED_STREAM);
      return;
    }
    const forwarded = upstream.request(sendable(headers), { endStream: ended });
    this.upstream = forwarded;
    // Ignored, because the 'close' handler reads the error code of the stream.
    forwarded.on('error', () => undefined);
    forwarded.once('response', (_headers: unknown, flags: number, raw: RawFields) => {
      const isTrailersOnly = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      this.response = this.respond(forwarded, raw, isTrailersOnly);
    });
    forwarded.once('trailers', (_headers: unknown, _flags: number, raw: RawFields) => {
      this.trailers = raw;
    });
    forwarded.once('close', () => {
      if (callbacks.connected) void this.passEnd(forwarded.rstCode);
    });
    stream.once('close', () => {
      if (callbacks.connected) void this.passReset(forwarded);
    });
    this.requests = this.request(forwarded);
  }

  /** ID of the upstream stream; `undefined` if the call was not forwarded. */
  get upstreamId(): number | undefined {
    return this.upstream?.id;
  }

  get forwarded(): boolean {
    return this.upstream !== undefined;
  }

  /** True if the upstream has ended the call, with its complete response or a reset. */
  get isEnded(): boolean {
    return this.upstream?.closed === true;
  }

  /** Refuses the client's stream as unprocessed, and cancels the upstream stream. */
  rejectUnprocessed(): void {
    this.end(REFUSED_STREAM, CANCEL);
  }

  private async request(forwarded: ClientHttp2Stream): Promise<void> {
    const { outcome, written } = await pump(this.client, forwarded, this.messagesAt('afterRequests'));
    if (outcome === 'reached') {
      await written;
      this.reset();
    } else if (outcome === 'ended' && !this.client.aborted) {
      // Node ends the readable side on a reset, too, so `aborted` must be checked.
      forwarded.end();
    } else {
      await written;
    }
  }

  /** Forwards the response. Resolves to true if the client has received, or will receive, all of it. */
  private async respond(forwarded: ClientHttp2Stream, raw: RawFields, isTrailersOnly: boolean): Promise<boolean> {
    if (this.isClosed() || this.resetAt('headers')) return false;
    const noTrailers = this.fault?.kind === 'missing-trailers';
    if (isTrailersOnly) {
      if (this.resetAt('trailers')) return false;
      this.client.respond(sendable(noTrailers ? withoutStatus(raw) : raw), { ...NO_DATE_HEADER, endStream: true });
      if (noTrailers) this.callbacks.onFailed();
      this.notify();
      return true;
    }
    this.client.once('wantTrailers', () => {
      // Passes `{}` to send no trailers. Node then sends an empty frame that ends the stream.
      if (!this.isClosed()) {
        this.client.sendTrailers(noTrailers ? {} : sendable(this.trailers));
        if (noTrailers) this.callbacks.onFailed();
      }
      this.notify();
    });
    this.client.respond(sendable(raw), { ...NO_DATE_HEADER, waitForTrailers: true });
    const { outcome, written } = await pump(forwarded, this.client, this.messagesAt('afterResponses'));
    const isComplete = outcome === 'ended' && forwarded.rstCode === NO_ERROR;
    // Waits until the messages are written, because the reset that follows would otherwise drop them.
    if (!isComplete || this.isFaultAt('trailers')) await written;
    if (outcome === 'reached') this.reset();
    if (!isComplete || this.isClosed() || this.resetAt('trailers')) return false;
    this.client.end();
    return true;
  }

  /**
   * Forwards a reset or clean end of the upstream's stream, after the messages that arrived before it. Flow control delays a reset by at
   * most `MAX_RESET_DELAY_MS`. After a clean end, closes the client's stream with NO_ERROR if the client has not ended its side yet.
   */
  private async passEnd(code: number): Promise<void> {
    if (code !== NO_ERROR) await settledInTime(this.response);
    else if ((await this.response) === true) {
      await this.notified;
      // If the client has ended its side, the stream closes automatically. Otherwise, it needs a reset, after the pending trailers.
      if (this.client.readableEnded) return;
      await this.callbacks.clientIdle();
    }
    if (!this.isClosed()) this.client.close(code);
  }

  /** Forwards a reset by the client, after the messages that arrived before it. Flow control delays it by at most `MAX_RESET_DELAY_MS`. */
  private async passReset(forwarded: ClientHttp2Stream): Promise<void> {
    await settledInTime(this.requests);
    if (this.callbacks.connected) forwarded.close(this.client.rstCode);
  }

  private messagesAt(point: 'afterRequests' | 'afterResponses'): number {
    const at: Partial<Record<typeof point, number>> | string | undefined =
      this.fault?.kind === 'reset' ? this.fault.at : undefined;
    return (typeof at === 'object' ? at[point] : undefined) ?? Infinity;
  }

  private isFaultAt(point: Extract<ResetPoint, string>): boolean {
    return this.fault?.kind === 'reset' && (this.fault.at ?? 'request') === point;
  }

  private resetAt(point: Extract<ResetPoint, string>): boolean {
    if (!this.isFaultAt(point)) return false;
    this.reset();
    return true;
  }

  private reset(): void {
    if (this.fault?.kind !== 'reset') return;
    if (!this.isClosed()) this.callbacks.onFailed();
    const code = errorNumber(this.fault.code);
    if (this.fault.direction === 'to-upstream') this.end(CANCEL, code);
    else this.end(code, CANCEL);
  }

  private end(toClient: number, toUpstream: number = NO_ERROR): void {
    if (!this.isClosed()) this.client.close(toClient);
    this.upstream?.close(toUpstream);
    this.notify();
  }

  private isClosed(): boolean {
    return this.client.closed || this.client.destroyed;
  }
}

/** Resolves when `forwarded` has settled, or after `MAX_RESET_DELAY_MS`: a peer that does not read must receive a reset, too. */
async function settledInTime(forwarded: Promise<unknown> | undefined): Promise<void> {
  const limit = new Wait(realClock, MAX_RESET_DELAY_MS, true);
  await Promise.race([forwarded, limit.over]);
  limit.end();
}

/** Returns the fields of a trailers-only response without those whose names start with 'grpc-', such as the status. */
function withoutStatus(raw: RawFields): RawFields {
  return raw.filter((_, at) => raw[at - (at % 2)]?.startsWith('grpc-') !== true);
}

// Node accepts only a single value for these fields and throws if it receives an array.
const SINGLE_VALUE_FIELDS: ReadonlySet<string> = new Set(
  (
    'access-control-allow-credentials access-control-max-age access-control-request-method age authorization content-encoding ' +
    'content-language content-length content-location content-md5 content-range content-type date dnt etag expires from host ' +
    'if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards ' +
    'proxy-authorization range referer retry-after te tk upgrade-insecure-requests user-agent x-content-type-options'
  ).split(' '),
);

/**
 * Converts `raw` to headers for sending. Keeps repeated values of a name separate. Keeps only the first value of a name that Node allows
 * only once. The headers object that node:http2 provides joins some values with commas and drops others.
 */
export function sendable(raw: RawFields): OutgoingHttpHeaders {
  const fields: Record<string, string | string[]> = {};
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const [name = '', value = ''] = raw.slice(at, at + 2);
    const before = fields[name];
    if (before === undefined) fields[name] = value;
    else if (!SINGLE_VALUE_FIELDS.has(name) && !name.startsWith(':')) fields[name] = [before, value].flat();
  }
  return fields;
}
