import type { Socket } from 'node:net';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { systemClock, type Clock, type Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import type { HeaderBlock } from '../hpack/header-block.js';
import type { ConnectionEnd, StreamReceiver } from '../http2/events.js';
import type { MemoryBudget } from '../http2/memory-budget.js';
import { ServerConnection, type ServerOwner, type ServerSettings } from '../http2/server-connection.js';
import type { RequestOwner, ServerStream } from '../http2/server-stream.js';
import type { MemoryProtection, PlannedEnd } from '../protection.js';
import { Http2Socket, type Keepalive, type SocketEnd } from './http2-socket.js';

/** Options of accepted connections. */
export interface ServerSocketOptions {
  readonly settings: ServerSettings;
  /** Shared by all connections of the process. */
  readonly memory: MemoryBudget;
  readonly keepalive?: Omit<Keepalive, 'isAlwaysOn'> | undefined;
  /** Milliseconds within which the client must complete its preface and settings, and each frame and header block that it begins. */
  readonly headTimeoutMs: number;
  /** Milliseconds within which the client must read something while output waits for it. */
  readonly sendTimeoutMs: number;
  /** Milliseconds within which the client must acknowledge the first GOAWAY of a drain. Afterward, further requests are refused. */
  readonly drainTimeoutMs: number;
}

/** Receives the events of an accepted connection. */
export interface ServerSocketOwner extends RequestOwner {
  /** The connection has ended, and its streams have failed. `end.details` names the rule or the limit that the client has violated, if any. */
  ended(end: SocketEnd): void;
}

/** An accepted connection and its socket. */
export class ServerSocket extends Http2Socket implements ServerOwner {
  readonly http2: ServerConnection;
  /** Address of the client, such as `127.0.0.1:50123`; `unix` for a Unix socket. */
  readonly peer: string;
  protected owner: ServerSocketOwner | undefined;
  private isPaused = false;
  private headTimer: Timer | undefined;
  private sendTimer: Timer | undefined;
  private drainTimer: Timer | undefined;
  private drainTimeoutMs = Infinity;

  constructor(
    private readonly accepted: Socket,
    private readonly options: ServerSocketOptions,
    clock: Clock,
  ) {
    super(clock, options.keepalive && { ...options.keepalive, isAlwaysOn: true }, true);
    this.peer = peerOf(accepted);
    this.http2 = new ServerConnection(this, options.settings, clock, options.memory);
  }

  /** Begins to read the requests, which `owner` gets. */
  start(owner: ServerSocketOwner): void {
    this.owner = owner;
    this.attach(this.accepted, false);
    this.watchHead();
  }

  /**
   * Ends the connection when its calls have ended; see `ServerConnection.drain`.
   *
   * @param timeoutMs milliseconds after which further requests are refused even if the client has not acknowledged the drain
   */
  drain(protection: PlannedEnd, timeoutMs = this.options.drainTimeoutMs): void {
    if (this.http2.isEnded) {
      this.stopLingering();
      return;
    }
    if (timeoutMs >= this.drainTimeoutMs) return;
    this.drainTimeoutMs = timeoutMs;
    this.drainTimer?.clear();
    this.drainTimer = new PeerTimer(this.clock, timeoutMs, () => this.http2.refuse('drain-timeout'));
    this.http2.drain(protection);
  }

  // ── input ──

  protected override received(bytes: Buffer): void {
    super.received(bytes);
    if (this.headTimer === undefined) this.watchHead();
  }

  /** Ends the connection if the client does not complete what it has begun. */
  private watchHead(): void {
    const { awaited } = this.http2;
    if (awaited === undefined || this.http2.isEnded) return;
    const { headTimeoutMs } = this.options;
    this.headTimer = new PeerTimer(this.clock, headTimeoutMs, () => {
      this.headTimer = undefined;
      if (this.http2.awaited === awaited)
        this.endForLimit(
          'head-timeout',
          `the client did not complete its ${awaited} within ${String(headTimeoutMs)} ms`,
        );
      else this.watchHead();
    });
  }

  private endForLimit(protection: 'head-timeout' | 'send-timeout', details: string): void {
    this.http2.endForViolation(protection, HTTP2_ERROR_CODES.ENHANCE_YOUR_CALM, details);
    if (protection === 'send-timeout') this.accepted.destroy();
    else this.wake();
  }

  // ── output ──

  protected override blocked(): void {
    const { accepted, http2, options } = this;
    if (this.sendTimer !== undefined || http2.isEnded) return;
    const sentBytes = accepted.bytesWritten - accepted.writableLength;
    this.sendTimer = new PeerTimer(this.clock, options.sendTimeoutMs, () => {
      this.sendTimer = undefined;
      if (accepted.bytesWritten - accepted.writableLength > sentBytes) this.blocked();
      else if (accepted.writableNeedDrain) {
        this.endForLimit('send-timeout', `the client has read nothing for ${String(options.sendTimeoutMs)} ms`);
      }
    });
  }

  protected override drained(): void {
    this.sendTimer?.clear();
    this.sendTimer = undefined;
    super.drained();
    if (this.isPaused) this.goOn();
  }

  // ── of the connection ──

  protected override get lingers(): boolean {
    // A client that speaks another protocol may wait for the end, and so does a server that drains.
    return this.http2.hasClientSettings && this.drainTimeoutMs === Infinity;
  }

  request(stream: ServerStream, block: HeaderBlock, isEnd: boolean): StreamReceiver {
    // Safe: nothing is read before `start()` has set the owner.
    return this.owner!.request(stream, block, isEnd);
  }

  memoryUsedUp(protection: MemoryProtection): void {
    this.owner?.memoryUsedUp?.(protection);
  }

  wanted(): number {
    return this.owner?.wanted?.() ?? Infinity;
  }

  pause(): void {
    this.isPaused = this.hasPaused = true;
    this.accepted.pause();
    systemClock.defer(this.goOn);
  }

  private readonly goOn = (): void => {
    if (this.http2.isFull) return;
    if (this.http2.resume()) {
      this.isPaused = false;
      this.accepted.resume();
    } else systemClock.defer(this.goOn);
  };

  settingsReceived(isFirst: boolean): void {
    if (isFirst) this.pingLater();
  }

  goawayReceived(): void {
    // The client opens no further streams, and closes the connection when its calls have ended.
  }

  override ended(end: ConnectionEnd): void {
    this.headTimer?.clear();
    this.sendTimer?.clear();
    this.drainTimer?.clear();
    super.ended(end);
  }
}

/** Text for the address of a socket's peer. */
export function peerOf({
  remoteAddress,
  remotePort,
  remoteFamily,
}: Pick<Socket, 'remoteAddress' | 'remotePort' | 'remoteFamily'>): string {
  if (remoteAddress === undefined) return 'unix';
  return `${remoteFamily === 'IPv6' ? `[${remoteAddress}]` : remoteAddress}:${String(remotePort)}`;
}
