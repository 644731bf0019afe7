import type { Metadata, StatusObject, experimental } from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';
import { httpResponseOf } from '../../policy/evidence/grpc-js-texts.js';
import { runInBackground } from '../quirks/background-call.js';
import { channelOf, setAuthority } from '../quirks/subchannel.js';

type SubchannelInterface = experimental.SubchannelInterface;
type CallStream = ReturnType<NonNullable<ReturnType<typeof channelOf>>['createCall']>;

/** Status with which a stream ended. */
export interface StreamEnd {
  readonly code: number;
  readonly details: string;
  /** Description of the response if it is HTTP but not gRPC, because a proxy or web server sent it. */
  readonly http?: string | undefined;
}

/** Request and callbacks of a stream. */
export interface StreamOpening {
  /** Path of the method, such as '/grpc.health.v1.Health/Watch'. */
  readonly path: string;
  readonly metadata: Metadata;
  /** The single request message. A Buffer, because grpc-js calls its method `copy()`. */
  readonly request: Buffer;
  /** Replaces the authority of the target, like the channel option `grpc.default_authority`. */
  readonly authority?: string | undefined;
  onMessage(bytes: Uint8Array): void;
  /**
   * Called once, after the last `onMessage`; not called after `cancel`. `end` is `undefined` if the stream ended because the connection
   * accepts no more calls, or because the channel was replaced or no longer uses the connection.
   */
  onEnd(end: StreamEnd | undefined): void;
  /**
   * Called once if a status has ended the stream and one of the events that `onEnd` lists follows; not called after `cancel`. A stream with
   * this callback observes its connection until such an event. The owner of the stream must call `cancel` as soon as the callback is no
   * longer needed.
   */
  onConnectionEnd?(): void;
}

/**
 * A response stream that is bound to one connection. It is not a call of the channel, so it keeps neither the channel from going idle nor
 * the process from exiting. It ends when its connection accepts no more calls, because a server that is shutting down waits for every
 * stream.
 */
export class ConnectionStream {
  /** True if no callback follows. */
  isOver = false;
  /** True if the stream has ended with a status. */
  private hasStatus = false;

  private constructor(
    private readonly subchannel: SubchannelInterface,
    readonly call: CallStream,
    private readonly opening: StreamOpening,
  ) {}

  /** Opens a stream; returns `undefined` if the installed grpc-js cannot bind a call to one connection. */
  static open(subchannel: SubchannelInterface, opening: StreamOpening): ConnectionStream | undefined {
    // The call has no deadline, because grpc-js would start a timer that the response does not clear and that keeps the process running.
    const call = channelOf(subchannel)?.createCall(opening.path, Infinity, null, null, null);
    if (call === undefined) return undefined;
    const stream = new ConnectionStream(subchannel, call, opening);
    stream.begin();
    return stream;
  }

  cancel(): void {
    if (this.markOver() && !this.hasStatus) this.cancelCall();
  }

  /**
   * Ends the stream without a status, or calls `onConnectionEnd` if a status has already ended the stream. `StreamOpening.onEnd` lists the
   * events that require this.
   */
  readonly endWithConnection = (): void => {
    if (!this.markOver()) return;
    if (this.hasStatus) {
      this.opening.onConnectionEnd?.();
      return;
    }
    this.cancelCall();
    this.opening.onEnd(undefined);
  };

  private begin(): void {
    const { call, opening } = this;
    const { authority, request } = opening;
    this.subchannel.addConnectivityStateListener(this.endWithConnection);
    if (authority !== undefined) setAuthority(call, authority);
    // Safe, although the types differ: these methods return promises. Without a handler, their rejections would be unhandled.
    const begun = call as unknown as Record<'start' | 'sendMessageWithContext', (...args: unknown[]) => unknown>;
    let received: Metadata | undefined;
    const listener = {
      onReceiveMetadata: (headers: Metadata) => {
        received = headers;
      },
      onReceiveMessage: (bytes: Uint8Array) => {
        if (this.isOver) return;
        opening.onMessage(bytes);
        call.startRead();
      },
      onReceiveStatus: ({ code, details, metadata }: StatusObject) => {
        // A trailers-only response has no headers; its content type is in the trailers.
        const [contentType] = (received ?? metadata).get('content-type');
        this.end({ code, details, http: httpResponseOf(details, contentType?.toString()) });
      },
    };
    const failed = (error: unknown): void => {
      this.end({ code: StatusCode.INTERNAL, details: String(error) });
    };
    Promise.resolve(begun.start(opening.metadata.clone(), listener)).then(() => {
      // Cancels the call again, because grpc-js creates the stream even if the call has already been cancelled.
      if (this.isOver || this.hasStatus) this.cancelCall();
      else runInBackground(call);
    }, failed);
    Promise.resolve(begun.sendMessageWithContext({}, request)).catch(failed);
    call.startRead();
    call.halfClose();
  }

  private end(end: StreamEnd): void {
    if (this.isOver || this.hasStatus) return;
    this.hasStatus = true;
    if (this.opening.onConnectionEnd === undefined) this.markOver();
    this.opening.onEnd(end);
  }

  private markOver(): boolean {
    if (this.isOver) return false;
    this.isOver = true;
    this.subchannel.removeConnectivityStateListener(this.endWithConnection);
    return true;
  }

  private cancelCall(): void {
    this.call.cancelWithStatus(StatusCode.CANCELLED, 'Cancelled on client');
  }
}
