import { errorMessage } from '../errors/error-message.js';
import { Server, type deserialize, type serialize, type ServerOptions, type UntypedHandleCall } from '@grpc/grpc-js';

/** Receives the path of the method whose response cannot be serialized, with the reason and the error. */
export type UnserializableListener = (path: string, reason: string, error: unknown) => void;

/** Returns the serializer to use for the responses of the method at `path`. */
export type SerializerWrapper = <R>(path: string, write: serialize<R>) => serialize<R>;

/**
 * A grpc-js server that reports each response that cannot be serialized. grpc-js sends INTERNAL without a cause for such a response, and
 * neither logs nor returns the error.
 */
export class ReportingServer extends Server {
  constructor(
    options: ServerOptions,
    private readonly onUnserializable: UnserializableListener,
    private readonly wrapSerializer: SerializerWrapper | undefined,
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
    const serialize = this.wrapSerializer?.(path, write) ?? write;
    const serializeOrReport = (message: R) => {
      try {
        return serialize(message);
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
