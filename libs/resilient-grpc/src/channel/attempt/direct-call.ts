import { Metadata, type StatusObject, type experimental } from '@grpc/grpc-js';
import type { Attempt } from '../../call/attempt.js';
import { type Clock, type Timer, MAX_TIMER_MS } from '../../time/clock.js';
import { StatusCode } from '../../status/status-code.js';
import type { DirectChannel, PickedCall } from '../quirks/direct-channel.js';
import type { ConnectionCallListener, TransportCall } from '../subchannel/connection-call.js';
import { inflate, isInflatable } from '../../transport/grpc/inflate.js';
import { setTriedEndpoints } from '../connection/endpoint-picker.js';

/** Limits of the channel, in bytes; -1 for no limit. */
export interface MessageLimits {
  readonly maxSendBytes: number;
  readonly maxReceiveBytes: number;
}

/** Receives the events of a direct call. The first three methods are those of grpc-js's listener. */
export interface DirectCallListener {
  onReceiveMetadata(headers: Metadata): void;
  onReceiveMessage(message: Buffer): void;
  onReceiveStatus(status: StatusObject): void;
  /** Ends the call on this side. */
  cancel(why: 'deadline' | 'protocol', code: number, details: string): void;
}

/**
 * A call that runs directly on one connection, without grpc-js's channel. Like that channel, it inflates compressed messages and enforces the deadline and the size limits.
 */
export class DirectCall implements ConnectionCallListener {
  private picked!: PickedCall;
  private encoding = 'identity';
  private deadlineTimer: Timer | undefined;
  private isInflating = false;
  /** Status that arrived while a message was being inflated. */
  private heldStatus: StatusObject | undefined;
  private isOver = false;

  constructor(
    private readonly channel: Pick<DirectChannel, 'createCall' | 'callEnded'>,
    private readonly limits: MessageLimits,
    private readonly listener: DirectCallListener,
    private readonly clock: Clock,
  ) {}

  get onConnection(): TransportCall {
    return this.picked.call;
  }

  /**
   * Sends the headers. Returns false and sends nothing if no usable connection was picked, if the deadline has passed, or if there are
   * several `authorization` values.
   *
   * @throws Error if HTTP/2 does not allow the metadata
   */
  start(picker: experimental.Picker, path: string, deadline: number, metadata: Metadata, tried?: string[]): boolean {
    // A call with several `authorization` values must pass through grpc-js's channel, which rejects it.
    if (metadata.get('authorization').length > 1) return false;
    const startedAt = deadline === Infinity ? 0 : this.clock.epoch();
    // A hedged attempt, or an attempt that waited for its metadata, can start after its deadline. It must not reach the server.
    if (deadline <= startedAt) return false;
    const headers = metadata.clone();
    if (tried !== undefined) setTriedEndpoints(headers, tried);
    headers.set('grpc-accept-encoding', 'identity,deflate,gzip');
    headers.set('accept-encoding', 'identity');
    headers.remove('grpc-encoding');
    if (deadline !== Infinity) headers.set('grpc-timeout', timeoutValue(deadline - startedAt));
    const picked = this.channel.createCall(picker, path, headers, this);
    if (picked === undefined) return false;
    this.picked = picked;
    const leftMs = deadline - startedAt;
    if (leftMs <= MAX_TIMER_MS) this.deadlineTimer = this.clock.setTimer(() => this.expire(startedAt), leftMs, true);
    return true;
  }

  getPeer(): string {
    return this.picked.call.getPeer();
  }

  getAuthContext(): Attempt['authContext'] {
    return this.picked.call.getAuthContext();
  }

  startRead(): void {
    this.picked.call.startRead();
  }

  sendMessageWithContext({ callback: written }: { callback?: () => void }, message: Uint8Array): void {
    const { maxSendBytes } = this.limits;
    const { length } = message;
    if (maxSendBytes !== -1 && length > maxSendBytes) {
      const details = `Attempted to send message with a size larger than ${String(maxSendBytes)}`;
      this.listener.cancel('protocol', StatusCode.RESOURCE_EXHAUSTED, details);
      return;
    }
    this.picked.call.send(message, written);
  }

  halfClose(): void {
    this.picked.call.halfClose();
  }

  cancelWithStatus(code: number, details: string): void {
    // A message that is being inflated is no longer delivered.
    this.isInflating = false;
    this.picked.call.cancelWithStatus(code, details);
    if (this.heldStatus === undefined) return;
    // Reports the new status here, because the call on the connection has already reported its own status.
    this.heldStatus = undefined;
    process.nextTick(() => {
      this.end({ code, details, metadata: new Metadata() });
    });
  }

  onReceiveMetadata(headers: Metadata): void {
    const [encoding] = headers.get('grpc-encoding');
    if (typeof encoding === 'string') this.encoding = encoding;
    headers.remove('grpc-encoding');
    headers.remove('grpc-accept-encoding');
    this.listener.onReceiveMetadata(headers);
  }

  onReceiveMessage(message: Buffer, isCompressed: boolean): void {
    if (isCompressed) this.inflate(message);
    else this.listener.onReceiveMessage(message);
  }

  onReceiveStatus(status: StatusObject): void {
    if (this.isInflating) this.heldStatus = status;
    else this.end(status);
  }

  private inflate(message: Buffer): void {
    const { encoding } = this;
    if (!isInflatable(encoding)) {
      const details =
        encoding === 'identity'
          ? 'Received compressed message but "grpc-encoding" header was identity'
          : `Compression method not supported: ${encoding}`;
      this.listener.cancel('protocol', StatusCode.INTERNAL, details);
      return;
    }
    this.isInflating = true;
    const { maxReceiveBytes } = this.limits;
    void inflate(encoding, message, maxReceiveBytes === -1 ? Infinity : maxReceiveBytes).then((result) => {
      if (!this.isInflating || this.isOver) return;
      if (result === 'too-large') {
        const details = `Received message that decompresses to a size larger than ${String(maxReceiveBytes)}`;
        this.listener.cancel('protocol', StatusCode.RESOURCE_EXHAUSTED, details);
        return;
      }
      if (result === 'unreadable') {
        this.listener.cancel('protocol', StatusCode.INTERNAL, `Failed to decompress ${encoding}-encoded message`);
        return;
      }
      this.isInflating = false;
      this.listener.onReceiveMessage(result);
      if (this.heldStatus !== undefined) this.end(this.heldStatus);
    });
  }

  private end(status: StatusObject): void {
    if (this.isOver) return;
    this.isOver = true;
    this.heldStatus = undefined;
    this.deadlineTimer?.clear();
    this.channel.callEnded(status);
    try {
      // May throw, because weighted_round_robin decodes a load report from the server. The listener receives the status anyway.
      this.picked.onCallEnded?.(status.code, status.details, status.metadata);
    } finally {
      this.listener.onReceiveStatus(status);
    }
  }

  private expire(startedAt: number): void {
    const tookMs = this.clock.epoch() - startedAt;
    const details = `Deadline exceeded after ${(tookMs / 1_000).toFixed(3)}s,remote_addr=${this.getPeer()}`;
    this.listener.cancel('deadline', StatusCode.DEADLINE_EXCEEDED, details);
  }
}

const TIMEOUT_UNITS = [
  ['m', 1],
  ['S', 1_000],
  ['M', 60_000],
  ['H', 3_600_000],
] as const;

/** Formats `ms` as a value of `grpc-timeout`: at most eight digits, rounded up (gRPC over HTTP/2, "Requests"). */
export function timeoutValue(ms: number): string {
  for (const [unit, factor] of TIMEOUT_UNITS) {
    const amount = Math.ceil(Math.max(ms, 0) / factor);
    if (amount < 1e8) return `${String(amount)}${unit}`;
  }
  // 11,000 years: the longest timeout that the header can express.
  return '99999999H';
}
