import {
  ServerInterceptingCall,
  type Metadata,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';
import type { ServedCallEnd, ServedCallTelemetry, ServerTelemetry } from '../../telemetry/grpc-telemetry.js';
import type { Clock } from '../../time/clock.js';
import { hearData, sentStatusOf } from '../quirks/http2-stream.js';
import { kindOf } from '../served-methods.js';
import type { MessageSizes } from './message-sizes.js';

/** What an interceptor hears of a call. grpc-js does not name its type. */
type Listener = Parameters<ServerInterceptingCallInterface['start']>[0];
type Method = Parameters<ServerInterceptor>[0];

/** Bytes before each message on the wire: whether it is compressed, and its length. */
const FRAME_BYTES = 5;

/** What the calls of a server are told to. */
export interface CallObserver {
  readonly telemetry: ServerTelemetry;
  readonly sizes: MessageSizes;
  readonly clock: Clock;
}

/**
 * A call as it is on the wire, next to it: begun with its headers, before its request has come, and ended with its trailers, whoever
 * wrote them, its handler, its deadline, or grpc-js for a request it cannot read.
 */
export class ObservedCall extends ServerInterceptingCall {
  private telemetry: ServedCallTelemetry | undefined;
  private messages = 0;
  private wireBytes = 0;

  constructor(
    private readonly method: Method,
    private readonly wire: ServerInterceptingCallInterface,
    private readonly observer: CallObserver,
  ) {
    super(wire);
  }

  override start(listener: Listener): void {
    const counted = hearData(this.wire, (bytes) => (this.wireBytes += bytes));
    this.wire.start({
      onReceiveMetadata: (metadata) => {
        const call = this.begin(metadata);
        call.within(() => {
          listener.onReceiveMetadata(metadata);
        });
      },
      onReceiveMessage: (message) => {
        this.messages += 1;
        this.telemetry?.received(this.observer.sizes.sizeOf(message));
        this.within(() => {
          listener.onReceiveMessage(message);
        });
      },
      onReceiveHalfClose: () => {
        this.within(() => {
          listener.onReceiveHalfClose();
        });
      },
      // It comes at the end of every call.
      onCancel: () => {
        this.telemetry?.end(this.endOf(counted));
        this.within(() => {
          listener.onCancel();
        });
      },
    });
  }

  override sendMessage(message: unknown, callback: () => void): void {
    const bytes = this.observer.sizes.during(() => {
      this.wire.sendMessage(message, callback);
    });
    if (bytes !== undefined) this.telemetry?.sent(bytes);
  }

  private begin(metadata: Metadata): ServedCallTelemetry {
    const { path } = this.method;
    this.telemetry = this.observer.telemetry.begin({ path, kind: kindOf(this.method), metadata });
    return this.telemetry;
  }

  private within(work: () => void): void {
    if (this.telemetry === undefined) work();
    else this.telemetry.within(work);
  }

  private endOf(counted: boolean): ServedCallEnd {
    const receivedBytes = counted ? Math.max(this.wireBytes - this.messages * FRAME_BYTES, 0) : undefined;
    const status = sentStatusOf(this.wire);
    if (status !== undefined) return { ...status, receivedBytes };
    const late = this.observer.clock.epoch() >= Number(this.wire.getDeadline());
    return { code: late ? StatusCode.DEADLINE_EXCEEDED : StatusCode.CANCELLED, details: '', receivedBytes };
  }
}
