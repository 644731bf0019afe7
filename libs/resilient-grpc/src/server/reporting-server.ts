import { Server, type deserialize, type serialize, type ServerOptions, type UntypedHandleCall } from '@grpc/grpc-js';

/** Receives the path of the method and the error of a response that cannot be serialized. */
export type UnserializableListener = (path: string, error: unknown) => void;

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
    const reporting = (message: R) => {
      try {
        return write(message);
      } catch (error) {
        this.onUnserializable(path, error);
        throw error;
      }
    };
    return super.register(path, handler, reporting, read, type);
  }
}
