import type { Server, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { StatusCode } from '../status/status-code.js';
import type { StatusLike } from './calls/served-method.js';
import { endStream, type WireCall } from './calls/wire-call.js';

/**
 * UNAVAILABLE, since whoever watches goes on elsewhere. gRPC's own watchers of health (Go, Java, C++) begin again after any status but
 * UNIMPLEMENTED, which would make them take the backend for healthy for ever (gRFC A17); for a resumable stream of ours OK would be its end.
 */
const ENDED: StatusLike = { code: StatusCode.UNAVAILABLE, details: 'The server is shutting down' };

/**
 * Streams of standard services, which their clients keep for as long as they like: Watch of health, reflection. They are no calls of
 * the application, and no shutdown waits for them.
 */
export class StandingStreams {
  private readonly open = new Set<WireCall>();
  private ended = false;

  /** Streams that are open. */
  get size(): number {
    return this.open.size;
  }

  /**
   * Takes part in a stream; false when it was refused, as all have been ended. It is refused without a message, so that clients wait
   * longer and longer before they begin it again: one that was answered is begun again at once.
   *
   * @param left called at the end of a stream that takes part
   */
  begin(call: WireCall, left?: () => void): boolean {
    if (this.ended) {
      endStream(call, ENDED);
      return false;
    }
    this.open.add(call);
    // Every call says so at its end.
    call.on('cancelled', () => {
      this.open.delete(call);
      left?.();
    });
    return true;
  }

  /** Ends all that are open, behind what was written, and refuses those that come. */
  end(): void {
    this.ended = true;
    for (const call of this.open) endStream(call, ENDED);
  }
}

/** A server that a standard service is added to. */
export type ServiceTaker = Pick<Server, 'addService'>;

/** Adds a standard service. False if the application serves it already: then that one stays. */
export function addStandardService(
  server: ServiceTaker,
  service: ServiceDefinition,
  implementation: UntypedServiceImplementation,
): boolean {
  try {
    server.addService(service, implementation);
    return true;
  } catch (error) {
    // grpc-js has no way to ask.
    if (!(error instanceof Error && error.message.endsWith('already provided.'))) throw error;
    return false;
  }
}
