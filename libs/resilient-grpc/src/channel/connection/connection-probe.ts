import { Metadata, type experimental } from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';
import { channelOf, realSubchannel, type Pingable } from '../quirks/subchannel.js';

type SubchannelInterface = experimental.SubchannelInterface;
type SubchannelChannel = NonNullable<ReturnType<typeof channelOf>>;
type CallStream = ReturnType<SubchannelChannel['createCall']>;

/** What is asked: every server answers it, one that does not know it too. */
const METHOD = '/grpc.health.v1.Health/Check';
/** A `HealthCheckRequest` for the server as a whole. */
const REQUEST = Buffer.alloc(0);
const NOTHING = (): void => undefined;

/**
 * Asks one connection, and no other, whether somebody is there. What comes of it is not looked at: it is bytes on the socket,
 * and each of them is a sign of life.
 */
export class ConnectionProbe {
  private call: CallStream | undefined;

  private constructor(
    private readonly channel: SubchannelChannel,
    private readonly session: Pingable,
  ) {}

  /** Undefined where the connection is not READY, or where this grpc-js keeps what is needed elsewhere. */
  static of(subchannel: SubchannelInterface): ConnectionProbe | undefined {
    const session = realSubchannel(subchannel).transport?.session;
    const channel = channelOf(subchannel);
    if (typeof session?.ping !== 'function' || channel === undefined) return undefined;
    // True: it has the method.
    return new ConnectionProbe(channel, session as Pingable);
  }

  /** Sends the health check. The server is told that it has `timeoutMs`; here `end` ends it. */
  check(timeoutMs: number): void {
    const metadata = new Metadata();
    metadata.set('grpc-timeout', `${String(timeoutMs)}m`);
    // Without a deadline: grpc-js keeps that of such a call by a timer which the answer does not clear, and which keeps the
    // process alive.
    const call = this.channel.createCall(METHOD, Infinity, null, null, null);
    this.call = call;
    const listener = { onReceiveMetadata: NOTHING, onReceiveMessage: NOTHING, onReceiveStatus: NOTHING };
    // True, whatever its types say: such a call is begun in promises, and nobody else would hear of their failure.
    const started = call as unknown as Record<'start' | 'sendMessageWithContext', (...args: unknown[]) => unknown>;
    Promise.resolve(started.start(metadata, listener)).catch(NOTHING);
    Promise.resolve(started.sendMessageWithContext({}, REQUEST)).catch(NOTHING);
    call.startRead();
    call.halfClose();
  }

  /** Sends a PING, which neither a full house of streams nor a window that is shut keeps from leaving. */
  ping(): void {
    try {
      this.session.ping(NOTHING);
    } catch {
      // The session is being ended, as its connection will tell.
    }
  }

  end(): void {
    this.call?.cancelWithStatus(StatusCode.CANCELLED, 'Probe ended');
    this.call = undefined;
  }
}
