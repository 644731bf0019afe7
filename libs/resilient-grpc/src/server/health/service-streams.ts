import type { Server, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';
import { endStream, type StatusLike, type WireCall } from '../calls/wire-call.js';
import { isError } from '../../errors/error-message.js';

/**
 * Status that ends service streams. UNAVAILABLE makes all watchers continue on another server. gRPC's health watchers (Go, Java, C++)
 * restart after any status except UNIMPLEMENTED, after which they consider the backend healthy forever (gRFC A17). With OK, a resumable
 * stream of this library's client would complete by default.
 */
const SHUTDOWN_STATUS: StatusLike = { code: StatusCode.UNAVAILABLE, details: 'The server is shutting down' };

/** Open streams of standard services: health Watch and reflection. Clients keep them open indefinitely. */
export class ServiceStreams {
  private readonly open = new Set<WireCall>();
  private ended = false;

  get size(): number {
    return this.open.size;
  }

  /**
   * Registers a stream. Returns false if it was rejected because the streams have been ended. A rejected stream receives no message,
   * so that clients back off; they immediately restart a stream that has received a message.
   *
   * @param onEnd called at the end of a registered stream
   */
  begin(call: WireCall, onEnd?: () => void): boolean {
    if (this.ended) {
      endStream(call, SHUTDOWN_STATUS);
      return false;
    }
    this.open.add(call);
    // grpc-js emits 'cancelled' at the end of every call.
    call.on('cancelled', () => {
      this.open.delete(call);
      onEnd?.();
    });
    return true;
  }

  /** Ends all open streams after the messages already written, and rejects new ones. */
  end(): void {
    this.ended = true;
    for (const call of this.open) endStream(call, SHUTDOWN_STATUS);
  }
}

export type ServiceHost = Pick<Server, 'addService'>;

/** Adds a standard service. Returns false, and changes nothing, if the application already provides it. */
export function addStandardService(
  server: ServiceHost,
  service: ServiceDefinition,
  implementation: UntypedServiceImplementation,
): boolean {
  try {
    server.addService(service, implementation);
    return true;
  } catch (error) {
    // grpc-js has no API that returns the added services.
    if (!(isError(error) && error.message.endsWith('already provided.'))) throw error;
    return false;
  }
}
