import { Metadata, type experimental } from '@grpc/grpc-js';
import { channelOf, pingableSession, type Pingable } from '../quirks/subchannel.js';
import { ConnectionStream } from './connection-stream.js';

type SubchannelInterface = experimental.SubchannelInterface;

/** Method of the probe. Every gRPC server responds, even one that does not implement the method. */
const METHOD = '/grpc.health.v1.Health/Check';
/** A `HealthCheckRequest` for the server as a whole. */
const REQUEST = Buffer.alloc(0);
const ignore = (): void => undefined;

/**
 * Checks whether the peer of one connection responds. The result of the call is ignored, because every byte that arrives on the socket is
 * evidence.
 */
export class LivenessProbe {
  private call: ConnectionStream | undefined;

  private constructor(
    private readonly subchannel: SubchannelInterface,
    private readonly session: Pingable,
  ) {}

  /** Returns a probe; `undefined` if the connection is not READY, or if the installed grpc-js lacks the required private names. */
  static of(subchannel: SubchannelInterface): LivenessProbe | undefined {
    const session = pingableSession(subchannel);
    if (session === undefined || channelOf(subchannel) === undefined) return undefined;
    return new LivenessProbe(subchannel, session);
  }

  /** Sends the health check, with `timeoutMs` as the timeout for the server. The caller must end the call with `end()`. */
  check(timeoutMs: number): void {
    const metadata = new Metadata();
    metadata.set('grpc-timeout', `${String(timeoutMs)}m`);
    const request = { path: METHOD, metadata, request: REQUEST };
    this.call = ConnectionStream.open(this.subchannel, { ...request, onMessage: ignore, onEnd: ignore });
  }

  /** Sends a PING frame. Neither MAX_CONCURRENT_STREAMS nor flow control delays PING frames. */
  ping(): void {
    try {
      this.session.ping(ignore);
    } catch {
      // The session is closing; the connection reports its end.
    }
  }

  end(): void {
    this.call?.cancel();
    this.call = undefined;
  }
}
