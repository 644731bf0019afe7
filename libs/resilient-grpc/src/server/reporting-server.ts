import { errorMessage } from '../errors/error-message.js';
import { registerTraced } from '../telemetry/agents/traced-handlers.js';
import { Server, type deserialize, type serialize, type ServerOptions, type UntypedHandleCall } from '@grpc/grpc-js';

/** Receives the paths of methods whose messages cannot be converted, with the error. */
export interface ConversionListener {
  /** Called if a response cannot be serialized. */
  onUnserializable(path: string, reason: string, error: unknown): void;
  /** Called if a request cannot be deserialized. */
  onUnreadable(path: string, error: unknown): void;
}

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

/** Returns the serializer's error message. Names the type of a response that is not an object, but not its value, which may be a secret. */
function reasonOf(error: unknown, message: unknown): string {
  const reason = errorMessage(error);
  if (typeof message === 'object' && message !== null) return reason;
  const found = message === undefined || message === null ? String(message) : `a ${typeof message}`;
  return `${reason}, got ${found}`;
}
