import { Metadata } from '@grpc/grpc-js';
import type { SocketSubchannel } from '../subchannel/socket-subchannel.js';
import type { SubchannelConnection } from '../subchannel/subchannel-connection.js';
import { ConnectionStream } from './connection-stream.js';

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

  /** @param connection the connection of `subchannel`, which is READY */
  constructor(
    private readonly subchannel: SocketSubchannel,
    private readonly connection: SubchannelConnection,
  ) {}

  /** Sends the health check, with `timeoutMs` as the timeout for the server. The caller must end the call with `end()`. */
  check(timeoutMs: number): void {
    const metadata = new Metadata();
    metadata.set('grpc-timeout', `${String(timeoutMs)}m`);
    const request = { path: METHOD, metadata, request: REQUEST };
    this.call = new ConnectionStream(this.subchannel, { ...request, onMessage: ignore, onEnd: ignore });
  }

  /** Sends a PING frame. Neither MAX_CONCURRENT_STREAMS nor flow control delays PING frames. */
  ping(): void {
    this.connection.socket.http2.ping(ignore);
  }

  end(): void {
    this.call?.cancel();
    this.call = undefined;
  }
}
