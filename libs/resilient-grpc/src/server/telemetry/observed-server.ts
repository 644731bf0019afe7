import {
  Server,
  type deserialize,
  type serialize,
  type ServerInterceptor,
  type ServerOptions,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { ServerTelemetry } from '../../telemetry/grpc-telemetry.js';
import type { Clock } from '../../time/clock.js';
import { observeHttp2Servers } from '../quirks/http2-servers.js';
import { statusSentBy } from '../quirks/http2-stream.js';
import { MessageSizes } from './message-sizes.js';
import { ObservedCall } from './observed-call.js';

/** Creates a grpc-js server that reports all calls to `telemetry`, including those of health and reflection. */
export function observedServer(options: ServerOptions, telemetry: ServerTelemetry, clock: Clock): Server {
  const sizes = new MessageSizes();
  const observer = { telemetry, sizes, clock };
  // The first interceptor is closest to the wire, so it also observes the effects of other interceptors.
  const observe: ServerInterceptor = (method, call) => new ObservedCall(method, call, observer);
  const server = new MeasuredServer({ ...options, interceptors: [observe, ...(options.interceptors ?? [])] }, sizes);
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

/** True if another library creates spans for the calls of grpc-js servers, such as `@opentelemetry/instrumentation-grpc`. */
export function isTracedByOthers(): boolean {
  // OpenTelemetry instrumentations mark the functions that they wrap (`isWrapped` of @opentelemetry/instrumentation).
  // eslint-disable-next-line @typescript-eslint/unbound-method -- only its property is read
  return Reflect.get(Server.prototype.register, '__wrapped') === true;
}

class MeasuredServer extends Server {
  /** Paths of the registered methods. */
  readonly paths = new Set<string>();

  constructor(
    options: ServerOptions,
    private readonly sizes: MessageSizes,
  ) {
    super(options);
  }

  override register<Q, R>(
    name: string,
    handler: UntypedHandleCall,
    write: serialize<R>,
    read: deserialize<Q>,
    type: string,
  ): boolean {
    this.paths.add(name);
    return super.register(name, handler, this.sizes.writing(write), this.sizes.reading(read), type);
  }
}
