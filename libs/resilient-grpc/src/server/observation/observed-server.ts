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
import { hearHttp2Servers } from '../quirks/http2-servers.js';
import { statusSentBy } from '../quirks/http2-stream.js';
import { MessageSizes } from './message-sizes.js';
import { ObservedCall } from './observed-call.js';

/** A server of grpc-js whose calls are told to `telemetry`, all of them: those of health and reflection too. */
export function observedServer(options: ServerOptions, telemetry: ServerTelemetry, clock: Clock): Server {
  const sizes = new MessageSizes();
  const observer = { telemetry, sizes, clock };
  // The first is next to the wire: what others make of a call is seen too.
  const observe: ServerInterceptor = (method, call) => new ObservedCall(method, call, observer);
  const server = new MeasuredServer({ ...options, interceptors: [observe, ...(options.interceptors ?? [])] }, sizes);
  hearHttp2Servers(server, (http2Server) => {
    http2Server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      if (server.paths.has(headers[':path'] ?? '')) return;
      // grpc-js heard of it before us, and has refused it. What is no call of gRPC has no status.
      const status = statusSentBy(stream);
      if (status !== undefined) telemetry.refused(status.code);
    });
  });
  return server;
}

/** Whether somebody else makes spans of the calls that servers of grpc-js serve, as `@opentelemetry/instrumentation-grpc` does. */
export function isTracedByOthers(): boolean {
  // What OpenTelemetry's instrumentations put around a function bears this mark (`isWrapped` of @opentelemetry/instrumentation).
  // eslint-disable-next-line @typescript-eslint/unbound-method -- it is looked at, not called
  return Reflect.get(Server.prototype.register, '__wrapped') === true;
}

class MeasuredServer extends Server {
  /** Of the methods it has. */
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
