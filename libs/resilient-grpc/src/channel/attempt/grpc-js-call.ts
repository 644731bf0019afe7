import { Metadata, type CallOptions, type Channel, type StatusObject, type experimental } from '@grpc/grpc-js';
import type { Attempt, ResponseHeaders } from '../../call/attempt.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { EXPIRED, type TransportCall, type TransportCallListener } from './transport-call.js';

const UNSUPPORTED_ENCODING =
  'Compression method not supported: the "grpc-encoding" of the response is neither gzip nor deflate';

/** A call on the transport of grpc-js. How far it got is unknown. */
export class GrpcJsCall implements TransportCall {
  readonly waitsFor = undefined;
  readonly placement = undefined;
  private readonly call: experimental.CallStream;
  private isStarted = false;
  /** Status of a call that was cancelled before it was started. */
  private earlyStatus: { readonly code: number; readonly details: string } | undefined;

  constructor(
    private readonly channel: Channel,
    path: string,
    private readonly deadline: number,
    { host, parent, propagate_flags: flags, credentials }: CallOptions,
    private readonly listener: TransportCallListener,
    private readonly clock: Clock,
  ) {
    this.call = channel.createCall(path, deadline, host, parent ?? null, flags);
    // `credentials` may be null, as in grpc-js.
    if (credentials) this.call.setCredentials(credentials);
  }

  start(metadata: Metadata): void {
    const { call, listener } = this;
    const early = this.earlyStatus ?? (this.deadline <= this.clock.epoch() ? EXPIRED : undefined);
    this.isStarted = true;
    if (early !== undefined) {
      // grpc-js would send the call, and the server would run it. A call that was not started reports no status.
      call.cancelWithStatus(early.code, early.details);
      this.clock.defer(() => listener.onReceiveStatus({ ...early, metadata: new Metadata() }));
      return;
    }
    // An object with own methods, because New Relic copies the listener of each call, and a copy lacks inherited methods.
    call.start(metadata, {
      onReceiveMetadata: (metadata) => listener.onReceiveHeaders(headersOf(metadata)),
      onReceiveMessage: listener.onReceiveMessage.bind(listener),
      onReceiveStatus: this.ended.bind(this),
    });
  }

  send(message: Buffer, written: (() => void) | undefined, flags?: number): void {
    this.call.sendMessageWithContext({ ...(written && { callback: written }), ...(flags && { flags }) }, message);
  }

  startRead(): void {
    this.call.startRead();
  }

  halfClose(): void {
    this.call.halfClose();
  }

  cancelWithStatus(code: number, details: string): void {
    if (!this.isStarted) {
      this.earlyStatus ??= { code, details };
      return;
    }
    this.call.cancelWithStatus(code, details);
    // In the turn in which a call is created, grpc-js has no child call yet. It reports the cancellation, but then sends the RPC anyway
    // and never ends it. In the next turn, the child call exists, and a second cancellation reaches it.
    this.clock.defer(() => this.call.cancelWithStatus(code, details));
  }

  get isPlaced(): boolean {
    return this.call.getPeer() !== this.channel.getTarget();
  }

  get peer(): string | undefined {
    const peer = this.call.getPeer();
    return this.isPlaced && peer !== 'unknown' ? peer : undefined;
  }

  get authContext(): Attempt['authContext'] {
    return this.call.getAuthContext();
  }

  private ended(status: StatusObject): void {
    const { listener } = this;
    // grpc-js ends a call with neither code nor details if it receives a compressed message whose encoding is neither gzip nor deflate. The
    // encoding is unknown here, because grpc-js has removed its header.
    const isUnsupported = (status.code as number | undefined) === undefined;
    if (isUnsupported) listener.cancel('protocol', StatusCode.INTERNAL, UNSUPPORTED_ENCODING);
    listener.onReceiveStatus(
      isUnsupported ? { ...status, code: StatusCode.INTERNAL, details: UNSUPPORTED_ENCODING } : status,
    );
  }
}

/** Returns the headers of a response as grpc-js reports them. */
export function headersOf(metadata: Metadata): ResponseHeaders {
  return { metadata, contentType: metadata.get('content-type')[0]?.toString() };
}
