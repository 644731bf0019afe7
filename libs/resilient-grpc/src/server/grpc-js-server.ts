import {
  Server,
  ServerInterceptingCall,
  type deserialize,
  type serialize,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerOptions,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import { kindOf } from '../call/method.js';
import { entriesOf } from '../channel/quirks/unbound-server.js';
import { isStatusCode, StatusCode } from '../status/status-code.js';
import { registerTraced } from '../telemetry/agents/traced-handlers.js';
import type { ServedCallTelemetry, ServerTelemetry } from '../telemetry/grpc-telemetry.js';
import type { Clock } from '../time/clock.js';
import { reasonOf, type ConversionListener, type Listener, type PartialStatus } from './grpc/innermost-call.js';

export interface GrpcJsServerDependencies {
  readonly clock: Clock;
  readonly telemetry: ServerTelemetry | undefined;
  /** True if a monitoring agent wraps the handlers that are registered from now on. */
  readonly isTraced: boolean;
  readonly conversions: ConversionListener;
}

/**
 * grpc-js's own server, for `transport: 'grpc-js'`: it also reports calls to telemetry, and messages that cannot be converted. grpc-js sends
 * INTERNAL without a cause for such a message, and neither logs nor returns the error.
 */
export class GrpcJsServer extends Server {
  constructor(
    options: ServerOptions,
    private readonly dependencies: GrpcJsServerDependencies,
  ) {
    const { telemetry, clock } = dependencies;
    // The first interceptor is closest to the wire, so it also observes the effects of other interceptors.
    const observe: ServerInterceptor[] =
      telemetry === undefined ? [] : [(method, call) => new ObservedCall(method, call, telemetry, clock)];
    super({ ...options, interceptors: [...observe, ...(options.interceptors ?? [])] });
  }

  override register<Q, R>(
    path: string,
    handler: UntypedHandleCall,
    write: serialize<R>,
    read: deserialize<Q>,
    type: string,
  ): boolean {
    const { conversions, isTraced } = this.dependencies;
    const serializeOrReport = (message: R): Buffer => {
      try {
        return write(message);
      } catch (error) {
        conversions.onUnserializable(path, reasonOf(error, message), error);
        throw error;
      }
    };
    const deserializeOrReport = (bytes: Buffer): Q => {
      try {
        return read(bytes);
      } catch (error) {
        conversions.onUnreadable(path, error, StatusCode.INTERNAL);
        throw error;
      }
    };
    const add = (added: UntypedHandleCall) => super.register(path, added, serializeOrReport, deserializeOrReport, type);
    if (!isTraced) return add(handler);
    return registerTraced(entriesOf(this), path, handler, add, (call) => observedCallOf(call)?.telemetry);
  }
}

/** Observes a call closest to the wire, from the arrival of its metadata to its end. */
class ObservedCall extends ServerInterceptingCall {
  telemetry: ServedCallTelemetry | undefined;
  private sent: PartialStatus | undefined;

  constructor(
    private readonly method: Parameters<ServerInterceptor>[0],
    private readonly wire: ServerInterceptingCallInterface,
    private readonly recorder: ServerTelemetry,
    private readonly clock: Clock,
  ) {
    super(wire);
  }

  override start(listener: Listener): void {
    this.wire.start({
      onReceiveMetadata: (metadata) => {
        const { path } = this.method;
        this.telemetry = this.recorder.begin({ path, kind: kindOf(this.method), metadata });
        this.within(() => {
          listener.onReceiveMetadata(metadata);
        });
      },
      onReceiveMessage: (message) => {
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
        this.telemetry?.end({ ...this.endStatus(), receivedBytes: undefined });
        this.within(() => {
          listener.onCancel();
        });
      },
    });
  }

  override sendStatus(status: PartialStatus): void {
    this.sent ??= status;
    this.wire.sendStatus(status);
  }

  private within(work: () => void): void {
    if (this.telemetry === undefined) work();
    else this.telemetry.within(work);
  }

  private endStatus(): { readonly code: StatusCode; readonly details: string } {
    const { sent } = this;
    const isLate = this.clock.epoch() >= Number(this.wire.getDeadline());
    if (sent === undefined) return { code: isLate ? StatusCode.DEADLINE_EXCEEDED : StatusCode.CANCELLED, details: '' };
    return { code: isStatusCode(sent.code) ? sent.code : StatusCode.UNKNOWN, details: sent.details };
  }
}

/** Returns the observed call inside the call that a handler receives, which interceptors may have wrapped (`nextCall`). */
function observedCallOf(serverCall: object): ObservedCall | undefined {
  let call: unknown = Reflect.get(serverCall, 'call');
  while (typeof call === 'object' && call !== null && !(call instanceof ObservedCall))
    call = Reflect.get(call, 'nextCall');
  return call instanceof ObservedCall ? call : undefined;
}
