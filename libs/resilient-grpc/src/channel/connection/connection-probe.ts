import { Metadata, type experimental } from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';

type SubchannelInterface = experimental.SubchannelInterface;
type CallStream = ReturnType<ReturnType<SubchannelInterface['getChannel']>['createCall']>;

/** What is asked: every server answers it, one that does not know it too. */
const METHOD = '/grpc.health.v1.Health/Check';
/** A `HealthCheckRequest` for the server as a whole. */
const REQUEST = Buffer.alloc(0);
const NOTHING = (): void => undefined;

interface Pinged {
  ping(callback: () => void): boolean;
}

/**
 * Asks one connection, and no other, whether somebody is there. What comes of it is not looked at: it is bytes on the socket,
 * and each of them is a sign of life.
 */
export class ConnectionProbe {
  private call: CallStream | undefined;

  private constructor(
    private readonly subchannel: SubchannelInterface,
    private readonly session: Pinged,
  ) {}

  /** Undefined where the connection is not READY, or where this grpc-js keeps what is needed elsewhere. */
  static of(subchannel: SubchannelInterface): ConnectionProbe | undefined {
    // True at every grpc-js this was written for; another may have no such fields, hence the question marks.
    const real = subchannel.getRealSubchannel() as unknown as {
      readonly transport?: { readonly session?: Partial<Pinged> } | null;
    };
    const session = real.transport?.session;
    if (typeof session?.ping !== 'function' || typeof subchannel.getChannel !== 'function') return undefined;
    // True: it has the method.
    return new ConnectionProbe(subchannel, session as Pinged);
  }

  /** Sends the health check. The server is told that it has `timeoutMs`; here `end` ends it. */
  check(timeoutMs: number): void {
    const metadata = new Metadata();
    metadata.set('grpc-timeout', `${String(timeoutMs)}m`);
    // Without a deadline: grpc-js keeps that of such a call by a timer which the answer does not clear, and which keeps the
    // process alive.
    const call = this.subchannel.getChannel().createCall(METHOD, Infinity, null, null, null);
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
