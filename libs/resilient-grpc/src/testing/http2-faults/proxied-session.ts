import { connect, constants, performServerHandshake } from 'node:http2';
import type { ClientHttp2Session, IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { CloseMode } from '../fault-proxy/faults.js';
import type { CallFaults } from './call-faults.js';
import { goawayFrame, NO_LAST_STREAM_ID } from './goaway-frame.js';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { errorNumber } from './http2-faults.js';
import type { GoawayOptions, Http2FaultProxyCounters } from './http2-faults.js';
import { ProxiedCall } from './proxied-call.js';
import type { RawFields, ProxiedCallCallbacks } from './proxied-call.js';
import type { SessionWire } from './session-wire.js';

// The proxy sets no limits of its own, so that only those of the upstream apply.
const UNLIMITED_SESSION = { maxSessionMemory: Number.MAX_SAFE_INTEGER, maxHeaderListPairs: Number.MAX_SAFE_INTEGER };

const NO_SETTINGS = 'the upstream closed the connection before it sent SETTINGS; if it requires TLS, set upstreamTls';

/** Counters of a proxy, shared and updated by its sessions. */
export type ProxyCounts = {
  -readonly [K in Exclude<keyof Http2FaultProxyCounters, 'accepted' | 'open'>]: Http2FaultProxyCounters[K];
};

/** A client connection and the corresponding upstream connection, each with its own HTTP/2 session. */
export class ProxiedSession implements ProxiedCallCallbacks {
  private readonly upstream: ClientHttp2Session;
  private readonly calls = new Set<ProxiedCall>();
  /** Created when the upstream's SETTINGS arrive. If the upstream is unreachable, the client's connection ends without a session. */
  private client: ServerHttp2Session | undefined;
  private pingsLeft = Infinity;
  /** Stream ID of the newest call without a 'goaway' fault; 0 before the first call. */
  private newestId = 0;
  /** The last stream ID of the latest GOAWAY; `Infinity` before the first one. New calls with a higher ID are ignored. */
  private lastStreamId = Infinity;
  private closing = false;

  constructor(
    private readonly wires: { readonly client: SessionWire; readonly upstream: SessionWire },
    scheme: 'http' | 'https',
    private streamLimit: number | undefined,
    private readonly faults: CallFaults,
    private readonly counts: ProxyCounts,
    /** Called when both connections are closed. */
    onClosed: () => void,
  ) {
    const settings = { enablePush: false };
    this.upstream = connect(`${scheme}://upstream`, {
      ...UNLIMITED_SESSION,
      settings,
      createConnection: () => wires.upstream,
    });
    // Records an error of the session, for example if the upstream does not use HTTP/2 or requires TLS.
    this.upstream.on('error', (error: Error) => this.upstreamFailed(error.message));
    this.upstream.on('remoteSettings', () => {
      if (this.client === undefined && !this.closing) this.client = this.accept();
      else this.sendSettings();
    });
    this.upstream.on('goaway', (code: number, lastStreamId: number, debugData?: Buffer) => {
      this.passGoaway(code, lastStreamId, debugData?.toString());
    });
    wires.client.once('lost', () => this.end(wires.client.lost ?? 'fin'));
    wires.upstream.once('lost', () => {
      const isEarly = this.client === undefined;
      this.upstreamFailed(wires.upstream.failure?.message ?? (isEarly ? NO_SETTINGS : undefined));
      void this.endAfterResponses();
    });
    let open = 2;
    for (const wire of [wires.client, wires.upstream]) {
      wire.on('error', () => undefined);
      wire.once('close', () => {
        open -= 1;
        if (open === 0) onClosed();
      });
    }
    // Starts reading. Otherwise, a client disconnect before the upstream is connected would not be detected.
    wires.client.read(0);
  }

  get connected(): boolean {
    return this.wires.client.lost === undefined && this.wires.upstream.lost === undefined && !this.closing;
  }

  onFailed(): void {
    this.counts.failed += 1;
  }

  clientIdle(): Promise<void> {
    return this.wires.client.idle();
  }

  goaway({ code = 'NO_ERROR', lastStreamId = 'newest', debugData = '' }: GoawayOptions): void {
    // Before SETTINGS, the client has no session that a GOAWAY could end.
    if (this.client === undefined || this.closing) return;
    // HTTP/2 forbids increasing the last stream ID from one GOAWAY to the next.
    const last = Math.min(this.lastStreamId, this.streamId(lastStreamId));
    this.wires.client.inject(goawayFrame(last, errorNumber(code), debugData));
    this.lastStreamId = last;
    for (const call of this.calls) if (call.id > last) call.rejectUnprocessed();
    if (errorNumber(code) !== HTTP2_ERROR_CODES.NO_ERROR) this.end('fin');
  }

  limitStreams(max: number | undefined): void {
    this.streamLimit = max;
    this.sendSettings();
  }

  /** Sets the number of allowed pings, counted from now. */
  allowPings(pings: number): void {
    this.pingsLeft = pings;
  }

  releaseOutput(): void {
    this.wires.client.release();
  }

  /** Destroys both connections, discarding unsent data. */
  destroy(): void {
    this.closing = true;
    this.client?.destroy();
    this.upstream.destroy();
    this.wires.client.cut();
    this.wires.upstream.cut();
  }

  private accept(): ServerHttp2Session {
    const session = performServerHandshake(this.wires.client, { ...UNLIMITED_SESSION, settings: this.settings() });
    session.on('error', () => undefined);
    const onStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, raw: RawFields) => {
      const ended = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      this.acceptCall(stream, headers[':path'] ?? '', raw, ended);
    };
    session.on('stream', onStream);
    session.on('ping', () => {
      this.counts.pings += 1;
      this.pingsLeft -= 1;
      if (this.pingsLeft < 0) this.goaway({ code: 'ENHANCE_YOUR_CALM', debugData: 'too_many_pings' });
    });
    return session;
  }

  private acceptCall(stream: ServerHttp2Stream, path: string, headers: RawFields, ended: boolean): void {
    const { id = 0 } = stream;
    stream.on('error', () => undefined);
    // The GOAWAY has declared streams above its last stream ID unprocessed, so the client expects no response.
    if (id > this.lastStreamId) return;
    this.counts.calls += 1;
    const fault = this.faults.claim(path);
    if (fault?.kind === 'goaway') {
      this.onFailed();
      this.goaway({ ...fault, lastStreamId: this.newestId });
      return;
    }
    this.newestId = id;
    const call = new ProxiedCall({ stream, id, headers, ended, fault }, this.upstream, this);
    if (call.forwarded) this.counts.forwarded += 1;
    this.calls.add(call);
    stream.once('close', () => this.calls.delete(call));
  }

  private sendSettings(): void {
    if (this.client?.destroyed === false) this.client.settings(this.settings());
  }

  private settings(): { maxConcurrentStreams: number; maxHeaderListSize: number; enablePush: false } {
    const { maxConcurrentStreams = 2 ** 32 - 1, maxHeaderListSize = 2 ** 32 - 1 } = this.upstream.remoteSettings;
    return { maxConcurrentStreams: this.streamLimit ?? maxConcurrentStreams, maxHeaderListSize, enablePush: false };
  }

  private streamId(lastStreamId: number | 'newest' | 'none'): number {
    if (lastStreamId === 'none') return NO_LAST_STREAM_ID;
    return lastStreamId === 'newest' ? this.newestId : lastStreamId;
  }

  /** Forwards a GOAWAY from the upstream, and converts its last stream ID to the corresponding ID in the client's session. */
  private passGoaway(code: number, lastStreamId: number, debugData: string | undefined): void {
    const unprocessed = [...this.calls].filter(({ upstreamId = 0 }) => upstreamId > lastStreamId).map(({ id }) => id);
    const last =
      unprocessed.length > 0
        ? Math.max(0, Math.min(...unprocessed) - 2)
        : lastStreamId === NO_LAST_STREAM_ID
          ? 'none'
          : 'newest';
    this.goaway({ code, lastStreamId: last, debugData });
  }

  /**
   * Ends the client's connection in the same way as the upstream's connection ended. First forwards the complete responses and the resets
   * if the upstream's connection ended with a FIN.
   */
  private async endAfterResponses(): Promise<void> {
    const how = this.wires.upstream.lost ?? 'fin';
    if (how === 'fin') {
      await Promise.all([...this.calls].filter(({ isEnded }) => isEnded).map(({ notified }) => notified));
      await this.clientIdle();
    }
    this.end(how);
  }

  private upstreamFailed(message: string | undefined): void {
    if (message !== undefined && !this.closing) this.counts.lastUpstreamError = message;
  }

  private end(how: CloseMode): void {
    if (this.closing) return;
    this.closing = true;
    this.wires.client.finish(how);
    this.wires.upstream.finish(how);
    this.client?.destroy();
    this.upstream.destroy();
    this.wires.client.destroy();
    this.wires.upstream.destroy();
  }
}
