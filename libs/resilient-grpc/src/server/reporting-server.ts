import { errorMessage } from '../errors/error-message.js';
import { Server, type deserialize, type serialize, type ServerOptions, type UntypedHandleCall } from '@grpc/grpc-js';

/** Receives the path of the method whose response cannot be serialized, with the reason and the error. */
export type UnserializableListener = (path: string, reason: string, error: unknown) => void;

/**
 * A grpc-js server that reports each response that cannot be serialized. grpc-js sends INTERNAL without a cause for such a response, and
 * neither logs nor returns the error.
 */
export class ReportingServer extends Server {
  constructor(
    options: ServerOptions,
    private readonly onUnserializable: UnserializableListener,
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
        this.onUnserializable(path, reasonOf(error, message), error);
        throw error;
      }
    };
    return super.register(path, handler, serializeOrReport, read, type);
  }
}

/** Returns the serializer's reason. Names the type of a response that is not an object, but not its value, which may be a secret. */
function reasonOf(error: unknown, message: unknown): string {
  const reason = errorMessage(error);
  if (typeof message === 'object' && message !== null) return reason;
  const found = message === undefined || message === null ? String(message) : `a ${typeof message}`;
  return `${reason}, got ${found}`;
}
