import {
  ServerInterceptingCall,
  type Metadata,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';
import type { ServedCallEnd, ServedCallTelemetry, ServerTelemetry } from '../../telemetry/grpc-telemetry.js';
import type { Clock } from '../../time/clock.js';
import { observeData, sentStatusOf } from '../quirks/http2-stream.js';
import { kindOf } from '../served-methods.js';
import type { MessageSizes } from './message-sizes.js';

/** Listener of an interceptor. grpc-js does not export its type. */
type Listener = Parameters<ServerInterceptingCallInterface['start']>[0];
type Method = Parameters<ServerInterceptor>[0];

/** Size of the header of each message on the wire: compression flag and length. */
const FRAME_BYTES = 5;

/** Dependencies of the observed calls of a server. */
export interface CallObserver {
  readonly telemetry: ServerTelemetry;
  readonly sizes: MessageSizes;
  readonly clock: Clock;
}

/**
 * Observes a call at the wire: from its headers, before its request arrives, to its trailers, which were sent by the handler, by the
 * deadline, or by grpc-js for an unreadable request.
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
    const counted = observeData(this.wire, (bytes) => (this.wireBytes += bytes));
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
      // grpc-js calls onCancel at the end of every call.
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
