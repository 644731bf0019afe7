import { Metadata, type experimental } from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';
import { channelOf, pingableSession, type Pingable } from '../quirks/subchannel.js';

type SubchannelInterface = experimental.SubchannelInterface;
type SubchannelChannel = NonNullable<ReturnType<typeof channelOf>>;
type CallStream = ReturnType<SubchannelChannel['createCall']>;

/** Method of the probe. Every server responds, even one that does not implement it. */
const METHOD = '/grpc.health.v1.Health/Check';
/** A `HealthCheckRequest` for the server as a whole. */
const REQUEST = Buffer.alloc(0);
const ignore = (): void => undefined;

/**
 * Checks whether the peer of one connection is alive. The result of the call is ignored: every byte that arrives on the socket is
 * evidence.
 */
export class LivenessProbe {
  private call: CallStream | undefined;

  private constructor(
    private readonly channel: SubchannelChannel,
    private readonly session: Pingable,
  ) {}

  /** Creates a probe; `undefined` if the connection is not READY, or if this grpc-js lacks the private names. */
  static of(subchannel: SubchannelInterface): LivenessProbe | undefined {
    const session = pingableSession(subchannel);
    const channel = channelOf(subchannel);
    return session === undefined || channel === undefined ? undefined : new LivenessProbe(channel, session);
  }

  /** Sends the health check, with `timeoutMs` as the timeout for the server. On this side, `end` ends the call. */
  check(timeoutMs: number): void {
    const metadata = new Metadata();
    metadata.set('grpc-timeout', `${String(timeoutMs)}m`);
    // Without a deadline, because grpc-js would start a timer that the response does not clear and that keeps the process alive.
    const call = this.channel.createCall(METHOD, Infinity, null, null, null);
    this.call = call;
    const listener = { onReceiveMetadata: ignore, onReceiveMessage: ignore, onReceiveStatus: ignore };
    // Safe, although the types differ: these methods return promises, and their rejections would be unhandled.
    const started = call as unknown as Record<'start' | 'sendMessageWithContext', (...args: unknown[]) => unknown>;
    Promise.resolve(started.start(metadata, listener)).catch(ignore);
    Promise.resolve(started.sendMessageWithContext({}, REQUEST)).catch(ignore);
    call.startRead();
    call.halfClose();
  }

  /** Sends a PING frame. Neither MAX_CONCURRENT_STREAMS nor flow control can delay it. */
  ping(): void {
    try {
      this.session.ping(ignore);
    } catch {
      // The session is closing; the connection reports its end.
    }
  }

  end(): void {
    this.call?.cancelWithStatus(StatusCode.CANCELLED, 'Probe ended');
    this.call = undefined;
  }
}
