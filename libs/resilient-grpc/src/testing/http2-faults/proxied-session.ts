import { performServerHandshake } from 'node:http2';
import type { ClientHttp2Session, IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { systemClock } from '../../time/clock.js';
import { errorNumber, type CallFaults, type Http2ErrorCode } from './call-faults.js';
import { ProxiedCall } from './proxied-call.js';

/** The last stream ID of a GOAWAY that does not reject any stream yet. */
const NO_LAST_STREAM_ID = 2 ** 31 - 1;

const NO_SETTINGS = 'the upstream closed the connection before it sent SETTINGS; if it requires TLS, set upstreamTls';

/** Options of a GOAWAY frame. */
export interface GoawayOptions {
  /** The error code. After any code other than NO_ERROR, the connection is closed. @defaultValue 'NO_ERROR' */
  readonly code?: Http2ErrorCode | undefined;
  /**
   * The last stream ID. 'newest': the ID of the newest call; calls in flight finish if the code is NO_ERROR. 'none': 2^31−1, as in the
   * first GOAWAY of a graceful shutdown, after which new calls are still served. An integer from 0 to 2^31−1: calls above it are reported
   * as unprocessed and dropped. The ID never exceeds that of an earlier GOAWAY on the same connection.
   * @defaultValue 'newest'
   */
  readonly lastStreamId?: number | 'newest' | 'none' | undefined;
  /** Debug data of the frame, at most 16,376 bytes. @defaultValue none */
  readonly debugData?: string | undefined;
}

/** The faults and counters of a proxy, which its sessions share. */
export interface ProxyState {
  readonly faults: CallFaults;
  streamLimit: number | undefined;
  pingLimit: number;
  holdsSettings: boolean;
  readonly counts: {
    calls: number;
    forwarded: number;
    failed: number;
    pings: number;
    lastUpstreamError: string | undefined;
  };
}

/** A client connection and the corresponding upstream connection, each with its own HTTP/2 session. Both end together. */
export class ProxiedSession {
  private readonly calls = new Set<ProxiedCall>();
  /** Created when the upstream's SETTINGS arrive. If the upstream is unreachable, the client's connection ends without a session. */
  private client: ServerHttp2Session | undefined;
  private isUpstreamReady = false;
  private pingsLeft: number;
  /** Stream ID of the newest call without a 'goaway' fault; 0 before the first call. */
  private newestId = 0;
  /** The last stream ID of the latest GOAWAY; `Infinity` before the first one. New calls with a higher ID are ignored. */
  private lastStreamId = Infinity;
  private readonly wire: SessionWire;

  constructor(
    private readonly socket: Socket,
    private readonly upstream: ClientHttp2Session,
    private readonly proxy: ProxyState,
  ) {
    this.pingsLeft = proxy.pingLimit;
    this.wire = new SessionWire(socket);
    socket.once('close', () => upstream.destroy());
    let error: Error | undefined;
    upstream.on('error', (cause: Error) => {
      error ??= cause;
    });
    upstream.once('remoteSettings', () => {
      this.isUpstreamReady = true;
      this.accept();
    });
    upstream.on('goaway', (code: number, _lastStreamId: number, debugData?: Buffer) => {
      this.goaway({ code, debugData: debugData?.toString() });
    });
    upstream.once('close', () => {
      const reason = error?.message ?? (this.isUpstreamReady ? undefined : NO_SETTINGS);
      if (reason !== undefined && !socket.destroyed) proxy.counts.lastUpstreamError = reason;
      void this.endAfterResponses();
    });
  }

  /** Starts to serve the client, unless its SETTINGS are held or the upstream has not sent its own yet. */
  accept(): void {
    if (this.client !== undefined || !this.isUpstreamReady || this.proxy.holdsSettings) return;
    const client = performServerHandshake(this.wire, {
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
      settings: this.settings(),
    });
    // Node answers a GOAWAY of the client with its own, whose last stream ID would contradict an earlier GOAWAY of the proxy.
    client.goaway = () => undefined;
    client.on('error', () => undefined);
    client.on('stream', (stream, headers) => this.acceptCall(stream, headers));
    client.on('ping', () => {
      this.proxy.counts.pings += 1;
      this.pingsLeft -= 1;
      if (this.pingsLeft < 0) this.goaway({ code: 'ENHANCE_YOUR_CALM', debugData: 'too_many_pings' });
    });
    this.client = client;
  }

  goaway({ code = 'NO_ERROR', lastStreamId = 'newest', debugData = '' }: GoawayOptions): void {
    // Before SETTINGS, the client has no session that a GOAWAY could end.
    if (this.client === undefined || this.socket.destroyed) return;
    const named = { newest: this.newestId, none: NO_LAST_STREAM_ID };
    const wanted = typeof lastStreamId === 'number' ? lastStreamId : named[lastStreamId];
    // HTTP/2 forbids increasing the last stream ID from one GOAWAY to the next.
    this.lastStreamId = Math.min(this.lastStreamId, wanted);
    // Not `client.goaway()`, which cannot send the last stream ID 0, and after which Node ignores new calls.
    this.socket.write(goawayFrame(this.lastStreamId, errorNumber(code), debugData));
    for (const call of this.calls) if ((call.client.id ?? 0) > this.lastStreamId) call.rejectUnprocessed();
    if (errorNumber(code) !== HTTP2_ERROR_CODES.NO_ERROR) this.socket.destroySoon();
  }

  sendSettings(): void {
    if (this.client?.destroyed === false) this.client.settings(this.settings());
  }

  /** Allows as many further pings as the proxy's limit. */
  resetPings(): void {
    this.pingsLeft = this.proxy.pingLimit;
  }

  private acceptCall(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const { id = 0 } = stream;
    const { counts, faults } = this.proxy;
    stream.on('error', () => undefined);
    // The GOAWAY has declared streams above its last stream ID unprocessed, so the client expects no response.
    if (id > this.lastStreamId) return;
    counts.calls += 1;
    const fault = faults.claim(headers[':path'] ?? '');
    const onFailed = () => {
      counts.failed += 1;
    };
    if (fault?.kind === 'goaway') {
      onFailed();
      this.goaway({ ...fault, lastStreamId: this.newestId });
      return;
    }
    this.newestId = id;
    const call = new ProxiedCall(stream, headers, this.upstream, fault, onFailed);
    if (call.forwarded !== undefined) counts.forwarded += 1;
    this.calls.add(call);
    stream.once('close', () => this.calls.delete(call));
  }

  private settings(): { readonly maxConcurrentStreams: number } {
    const { maxConcurrentStreams = 2 ** 32 - 1 } = this.upstream.remoteSettings;
    return { maxConcurrentStreams: this.proxy.streamLimit ?? maxConcurrentStreams };
  }

  /** Ends the client's connection after the complete responses, because the upstream's connection has ended. */
  private async endAfterResponses(): Promise<void> {
    const complete = [...this.calls].filter(({ forwarded }) => forwarded?.readableEnded);
    await Promise.all(complete.map(({ response }) => response));
    // Node writes the trailers in a later turn of the event loop.
    for (let turns = 0; turns < 3; turns += 1) await new Promise<void>((resolve) => systemClock.defer(resolve));
    this.socket.destroySoon();
  }
}

/** Encodes a GOAWAY frame (RFC 9113, section 6.8). */
function goawayFrame(lastStreamId: number, code: number, debugData: string): Buffer {
  const debug = Buffer.from(debugData);
  const frame = Buffer.alloc(17);
  frame.writeUIntBE(8 + debug.length, 0, 3);
  frame.writeUInt8(0x7, 3);
  // Flags and stream ID stay 0: GOAWAY applies to the connection.
  frame.writeUInt32BE(lastStreamId, 9);
  frame.writeUInt32BE(code, 13);
  return Buffer.concat([frame, debug]);
}

/** The socket of an HTTP/2 session. node:http2 writes whole frames to it, so other frames can be written to the socket in between. */
class SessionWire extends Duplex {
  constructor(private readonly socket: Socket) {
    super();
    socket.on('data', (bytes: Buffer) => {
      if (!this.push(bytes)) socket.pause();
    });
    socket.once('end', () => this.push(null));
    socket.once('close', () => this.destroy());
    for (const one of [socket, this]) one.on('error', () => undefined);
  }

  override _read(): void {
    this.socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.socket.write(chunk, done);
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.socket.destroySoon();
    done(error);
  }
}
