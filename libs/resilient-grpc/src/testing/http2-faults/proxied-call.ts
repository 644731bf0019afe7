import { constants } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream, ServerHttp2Stream } from 'node:http2';
import { sendable } from './header-fields.js';
import type { RawFields } from './header-fields.js';
import { errorNumber, HTTP2_ERROR_CODES } from './http2-faults.js';
import type { MissingTrailersFault, ResetFault, ResetPoint } from './http2-faults.js';
import { pump } from './pump.js';

const { CANCEL, NO_ERROR, REFUSED_STREAM } = HTTP2_ERROR_CODES;

// Node's types do not know it: without it Node adds a date to headers that have none.
const AS_IT_CAME = { sendDate: false };

/** A call as it came from the client. */
export interface IncomingCall {
  readonly id: number;
  readonly stream: ServerHttp2Stream;
  readonly headers: RawFields;
  /** There is no message: the stream ended with its headers. */
  readonly ended: boolean;
  /** What goes wrong with it. */
  readonly fault: ResetFault | MissingTrailersFault | undefined;
}

/** The connections of a call. */
export interface Surroundings {
  /** Both are there: a stream that ends with its connection is not reset. */
  readonly connected: boolean;
  /** Resolves when the client was sent what there is. */
  clientIdle(): Promise<void>;
  /** The call's fault has hit it. */
  onFailed(): void;
}

/** One call: its stream of the client, and the one it became at the upstream. */
export class ProxiedCall {
  /** Of the client's stream. */
  readonly id: number;
  /** Resolves when the client was told how it ended, or has left. */
  readonly told: Promise<void>;
  #tell: () => void = () => undefined;
  readonly #client: ServerHttp2Stream;
  readonly #fault: ResetFault | MissingTrailersFault | undefined;
  readonly #around: Surroundings;
  readonly #upstream: ClientHttp2Stream | undefined;
  #trailers: RawFields = [];
  #response: Promise<boolean> | undefined;

  constructor({ id, stream, headers, ended, fault }: IncomingCall, upstream: ClientHttp2Session, around: Surroundings) {
    this.id = id;
    this.#client = stream;
    this.#fault = fault;
    this.#around = around;
    this.told = new Promise((resolve) => {
      this.#tell = resolve;
      stream.once('close', resolve);
    });
    if (this.#resetAt('request')) return;
    // After a GOAWAY of the upstream it takes no more. Nothing was sent, and that is what the client is told.
    if (upstream.closed || upstream.destroyed) {
      this.#end(REFUSED_STREAM);
      return;
    }
    const forwarded = upstream.request(sendable(headers), { endStream: ended });
    this.#upstream = forwarded;
    // How it ended is in its code.
    forwarded.on('error', () => undefined);
    forwarded.once('response', (_headers: unknown, flags: number, raw: RawFields) => {
      const isTrailersOnly = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      this.#response = this.#respond(forwarded, raw, isTrailersOnly);
    });
    forwarded.once('trailers', (_headers: unknown, _flags: number, raw: RawFields) => {
      this.#trailers = raw;
    });
    forwarded.once('close', () => {
      if (around.connected) void this.#passEnd(forwarded.rstCode);
    });
    stream.once('close', () => {
      if (around.connected) forwarded.close(stream.rstCode);
    });
    void this.#request(forwarded);
  }

  /** Its id at the upstream; undefined when it was not forwarded. */
  get upstreamId(): number | undefined {
    return this.#upstream?.id;
  }

  get forwarded(): boolean {
    return this.#upstream !== undefined;
  }

  /** The upstream has said all of its answer. */
  get isAnswered(): boolean {
    return this.#upstream?.closed === true && this.#upstream.rstCode === NO_ERROR;
  }

  /** Ends it on both sides, as if it had never been seen. */
  disown(): void {
    this.#end(REFUSED_STREAM, CANCEL);
  }

  async #request(forwarded: ClientHttp2Stream): Promise<void> {
    const outcome = await pump(this.#client, forwarded, this.#messagesAt('afterRequests'));
    if (outcome === 'reached') this.#reset();
    // Node ends what can be read at a reset too.
    else if (outcome === 'ended' && !this.#client.aborted) forwarded.end();
  }

  /** Resolves to whether the client has the whole of it, or will have. */
  async #respond(forwarded: ClientHttp2Stream, raw: RawFields, isTrailersOnly: boolean): Promise<boolean> {
    if (this.#isClosed() || this.#resetAt('headers')) return false;
    const noTrailers = this.#fault?.kind === 'missing-trailers';
    if (isTrailersOnly) {
      if (this.#resetAt('trailers')) return false;
      this.#client.respond(sendable(noTrailers ? withoutStatus(raw) : raw), { ...AS_IT_CAME, endStream: true });
      if (noTrailers) this.#around.onFailed();
      this.#tell();
      return true;
    }
    this.#client.once('wantTrailers', () => {
      // None at all is an empty frame that ends the stream.
      if (!this.#isClosed()) {
        this.#client.sendTrailers(noTrailers ? {} : sendable(this.#trailers));
        if (noTrailers) this.#around.onFailed();
      }
      this.#tell();
    });
    this.#client.respond(sendable(raw), { ...AS_IT_CAME, waitForTrailers: true });
    const outcome = await pump(forwarded, this.#client, this.#messagesAt('afterResponses'));
    if (outcome === 'reached') this.#reset();
    if (outcome !== 'ended' || forwarded.rstCode !== NO_ERROR) return false;
    if (this.#isClosed() || this.#resetAt('trailers')) return false;
    this.#client.end();
    return true;
  }

  /** The upstream's stream is over: reset, or in order though the client may not have ended its side. */
  async #passEnd(code: number): Promise<void> {
    if (code === NO_ERROR && (await this.#response) === true) {
      await this.told;
      // It ends by itself where the client has ended its side. Elsewhere a reset would take the place of trailers that wait.
      if (this.#client.readableEnded) return;
      await this.#around.clientIdle();
    }
    if (!this.#isClosed()) this.#client.close(code);
  }

  #messagesAt(point: 'afterRequests' | 'afterResponses'): number {
    const at: Partial<Record<typeof point, number>> | string | undefined =
      this.#fault?.kind === 'reset' ? this.#fault.at : undefined;
    return (typeof at === 'object' ? at[point] : undefined) ?? Infinity;
  }

  #resetAt(point: Extract<ResetPoint, string>): boolean {
    if (this.#fault?.kind !== 'reset' || (this.#fault.at ?? 'request') !== point) return false;
    this.#reset();
    return true;
  }

  #reset(): void {
    if (this.#fault?.kind !== 'reset') return;
    if (!this.#isClosed()) this.#around.onFailed();
    const code = errorNumber(this.#fault.code);
    if (this.#fault.direction === 'to-upstream') this.#end(CANCEL, code);
    else this.#end(code, CANCEL);
  }

  #end(toClient: number, toUpstream: number = NO_ERROR): void {
    if (!this.#isClosed()) this.#client.close(toClient);
    this.#upstream?.close(toUpstream);
    this.#tell();
  }

  #isClosed(): boolean {
    return this.#client.closed || this.#client.destroyed;
  }
}

/** A response that is its trailers, without what gRPC reads in it. */
function withoutStatus(raw: RawFields): RawFields {
  return raw.filter((_, at) => raw[at - (at % 2)]?.startsWith('grpc-') !== true);
}
