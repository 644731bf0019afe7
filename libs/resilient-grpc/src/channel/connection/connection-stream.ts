import type { Metadata, experimental } from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';
import { channelOf, setAuthority } from '../quirks/subchannel.js';

type SubchannelInterface = experimental.SubchannelInterface;
type CallStream = ReturnType<NonNullable<ReturnType<typeof channelOf>>['createCall']>;

/** The status it ended with. */
export interface StreamEnd {
  readonly code: number;
  readonly details: string;
}

/** What a stream is opened with, and who hears of it. */
export interface StreamOpening {
  /** '/grpc.health.v1.Health/Watch' */
  readonly path: string;
  readonly metadata: Metadata;
  /** The one request. */
  readonly request: Uint8Array;
  /** In place of the target's, as in the channel option `grpc.default_authority`. */
  readonly authority?: string | undefined;
  onMessage(bytes: Uint8Array): void;
  /** Once and last, unless it was cancelled. undefined: no word of the server's, but its connection takes no more calls. */
  onEnd(end: StreamEnd | undefined): void;
}

/**
 * A stream of responses on one connection, and no other. It is no call of the channel, which goes idle though it is open; and it
 * ends as soon as its connection takes no more calls: a server that shuts down waits for every stream.
 */
export class ConnectionStream {
  /** Nothing comes of it any more. */
  isOver = false;

  private constructor(
    private readonly subchannel: SubchannelInterface,
    readonly call: CallStream,
    private readonly opening: StreamOpening,
  ) {}

  /** Undefined where this grpc-js lets nobody call on one connection. */
  static open(subchannel: SubchannelInterface, opening: StreamOpening): ConnectionStream | undefined {
    const call = channelOf(subchannel)?.createCall(opening.path, Infinity, null, null, null);
    if (call === undefined) return undefined;
    const stream = new ConnectionStream(subchannel, call, opening);
    stream.begin();
    return stream;
  }

  cancel(): void {
    if (this.leave()) this.cancelCall();
  }

  /** Its connection takes no more calls. */
  readonly leaveConnection = (): void => {
    if (!this.leave()) return;
    this.cancelCall();
    this.opening.onEnd(undefined);
  };

  private begin(): void {
    const { call, opening } = this;
    const { authority, request } = opening;
    this.subchannel.addConnectivityStateListener(this.leaveConnection);
    if (authority !== undefined) setAuthority(call, authority);
    // True, whatever its types say: such a call is begun in promises, and nobody else would hear of their failure.
    const begun = call as unknown as Record<'start' | 'sendMessageWithContext', (...args: unknown[]) => unknown>;
    const listener = {
      onReceiveMetadata: () => undefined,
      onReceiveMessage: (bytes: Uint8Array) => {
        if (this.isOver) return;
        opening.onMessage(bytes);
        call.startRead();
      },
      onReceiveStatus: (end: StreamEnd) => {
        this.end(end);
      },
    };
    const failed = (error: unknown): void => {
      this.end({ code: StatusCode.INTERNAL, details: String(error) });
    };
    Promise.resolve(begun.start(opening.metadata.clone(), listener)).then(() => {
      // What was cancelled before it was made is made all the same, and must not stay.
      if (this.isOver) this.cancelCall();
    }, failed);
    Promise.resolve(begun.sendMessageWithContext({}, request)).catch(failed);
    call.startRead();
    call.halfClose();
  }

  private end(end: StreamEnd): void {
    if (this.leave()) this.opening.onEnd(end);
  }

  private leave(): boolean {
    if (this.isOver) return false;
    this.isOver = true;
    this.subchannel.removeConnectivityStateListener(this.leaveConnection);
    return true;
  }

  private cancelCall(): void {
    this.call.cancelWithStatus(StatusCode.CANCELLED, 'Cancelled on client');
  }
}
