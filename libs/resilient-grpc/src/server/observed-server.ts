import {
  ServerInterceptingCall,
  type deserialize,
  type serialize,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerOptions,
  type UntypedHandleCall,
  Server,
} from '@grpc/grpc-js';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { kindOf } from '../call/method.js';
import { StatusCode } from '../status/status-code.js';
import type { ServedCallEnd, ServedCallTelemetry, ServerTelemetry } from '../telemetry/grpc-telemetry.js';
import type { Clock } from '../time/clock.js';
import { observeHttp2Servers } from './quirks/http2-servers.js';
import { observeData, sentStatusOf, statusSentBy, streamOf } from './quirks/http2-stream.js';
import { reasonOf, type ConversionListener } from './grpc/innermost-call.js';
import { registerTraced } from '../telemetry/agents/traced-handlers.js';

/**
 * A grpc-js server that reports each response that cannot be serialized, and each request that cannot be deserialized. grpc-js sends
 * INTERNAL without a cause in both cases, and neither logs nor returns the error.
 */
export class ReportingServer extends Server {
  /** True if a monitoring agent wraps the handlers that are registered from now on. */
  isTraced = false;

  constructor(
    options: ServerOptions,
    private readonly listener: ConversionListener,
  ) {
    super(options);
  }

  override register<Q, R>(
    path: string,
    handler: UntypedHandleCall,
    write: serialize<R>,
    read: deserialize<Q>,
    type: string,
  ): boolean {
    const serializeOrReport = (message: R) => {
      try {
        return write(message);
      } catch (error) {
        this.listener.onUnserializable(path, reasonOf(error, message), error);
        throw error;
      }
    };
    const deserializeOrReport = (bytes: Buffer) => {
      try {
        return read(bytes);
      } catch (error) {
        this.listener.onUnreadable(path, error);
        throw error;
      }
    };
    const add = (added: UntypedHandleCall) => super.register(path, added, serializeOrReport, deserializeOrReport, type);
    return this.isTraced ? registerTraced(this, path, handler, add) : add(handler);
  }
}

/** Listener of an interceptor. grpc-js does not export its type. */
type Listener = Parameters<ServerInterceptingCallInterface['start']>[0];
type Method = Parameters<ServerInterceptor>[0];

/** Size of the header of each message on the wire: compression flag and length. */
const FRAME_HEADER_BYTES = 5;

/** Sizes of messages, recorded when grpc-js serializes or deserializes them, and looked up when a call sends or receives them. */
class MessageSizes {
  private readonly read = new WeakMap<object, number>();
  private written: number | undefined;

  /** Wraps `deserialize`, so that `sizeOf` returns the sizes of its messages. */
  wrapDeserialize<T>(deserialize: (bytes: Buffer) => T): (bytes: Buffer) => T {
    return (bytes) => {
      const message = deserialize(bytes);
      if (typeof message === 'object' && message !== null) this.read.set(message, bytes.length);
      return message;
    };
  }

  /** Wraps `serialize`, so that `measureWrite` returns the size of its message. */
  wrapSerialize<T>(serialize: (message: T) => Buffer): (message: T) => Buffer {
    return (message) => {
      const bytes = serialize(message);
      this.written = bytes.length;
      return bytes;
    };
  }

  /** Returns the size of a received message; 0 if the size is unknown, which only a custom deserializer can cause. */
  sizeOf(message: unknown): number {
    // The cast is safe: a value that is not an object is never found.
    return this.read.get(message as object) ?? 0;
  }

  /** Returns the size of the message that `write` serializes synchronously; `undefined` if serialization failed. */
  measureWrite(write: () => void): number | undefined {
    this.written = undefined;
    write();
    return this.written;
  }
}

interface CallObserver {
  readonly telemetry: ServerTelemetry;
  readonly sizes: MessageSizes;
  readonly clock: Clock;
  /** Calls by their stream, for handlers that an agent wraps; `undefined` without an agent. */
  calls?: WeakMap<object, ServedCallTelemetry>;
}

/**
 * Observes a call on the wire, from its headers to its trailers. The observation includes the time before the request arrives, and trailers
 * that were sent because the deadline passed or because grpc-js could not read a request.
 */
class ObservedCall extends ServerInterceptingCall {
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
    const isDataObserved = observeData(this.wire, (bytes) => (this.wireBytes += bytes));
    this.wire.start({
      onReceiveMetadata: (metadata) => {
        const { path } = this.method;
        const { telemetry, calls } = this.observer;
        this.telemetry = telemetry.begin({ path, kind: kindOf(this.method), metadata });
        const stream = calls && streamOf(this.wire);
        if (stream !== undefined) calls?.set(stream, this.telemetry);
        this.within(() => {
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
        this.telemetry?.end(this.endOf(isDataObserved));
        this.within(() => {
          listener.onCancel();
        });
      },
    });
  }

  override sendMessage(message: unknown, callback: () => void): void {
    const bytes = this.observer.sizes.measureWrite(() => {
      this.wire.sendMessage(message, callback);
    });
    if (bytes !== undefined) this.telemetry?.sent(bytes);
  }

  private within(work: () => void): void {
    if (this.telemetry === undefined) work();
    else this.telemetry.within(work);
  }

  private endOf(isDataObserved: boolean): ServedCallEnd {
    const receivedBytes = isDataObserved ? Math.max(this.wireBytes - this.messages * FRAME_HEADER_BYTES, 0) : undefined;
    const status = sentStatusOf(this.wire);
    if (status !== undefined) return { ...status, receivedBytes };
    const isLate = this.observer.clock.epoch() >= Number(this.wire.getDeadline());
    return { code: isLate ? StatusCode.DEADLINE_EXCEEDED : StatusCode.CANCELLED, details: '', receivedBytes };
  }
}

/** A server that records the paths of its methods and the sizes of its messages. */
class MeasuredServer extends ReportingServer {
  readonly paths = new Set<string>();

  constructor(
    options: ServerOptions,
    listener: ConversionListener,
    private readonly observer: CallObserver,
  ) {
    super(options, listener);
  }

  override register<Q, R>(
    name: string,
    handler: UntypedHandleCall,
    write: serialize<R>,
    read: deserialize<Q>,
    type: string,
  ): boolean {
    this.paths.add(name);
    const { observer } = this;
    const { sizes } = observer;
    let served = handler;
    if (this.isTraced) {
      const calls = (observer.calls ??= new WeakMap<object, ServedCallTelemetry>());
      const serve = (call: object, ...more: unknown[]): void => {
        const work = (): unknown => Reflect.apply(handler, undefined, [call, ...more]);
        const telemetry = calls.get(streamOf(call) ?? call);
        if (telemetry === undefined) work();
        else telemetry.serve(work);
      };
      // The cast is safe: grpc-js calls each handler with these arguments.
      served = serve as never;
    }
    return super.register(name, served, sizes.wrapSerialize(write), sizes.wrapDeserialize(read), type);
  }
}

/** Creates a grpc-js server that reports all calls to `telemetry`, including health and reflection calls. */
export function observedServer(
  options: ServerOptions,
  telemetry: ServerTelemetry,
  clock: Clock,
  listener: ConversionListener,
): ReportingServer {
  const sizes = new MessageSizes();
  const observer: CallObserver = { telemetry, sizes, clock };
  // The first interceptor is closest to the wire, so it also observes the effects of other interceptors.
  const observe: ServerInterceptor = (method, call) => new ObservedCall(method, call, observer);
  const interceptors = [observe, ...(options.interceptors ?? [])];
  const server = new MeasuredServer({ ...options, interceptors }, listener, observer);
  observeHttp2Servers(server, (http2Server) => {
    http2Server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      if (server.paths.has(headers[':path'] ?? '')) return;
      // grpc-js receives the event first and has already rejected the call. A request that is not gRPC has no status.
      const status = statusSentBy(stream);
      if (status !== undefined) telemetry.refused(status.code);
    });
  });
  return server;
}
