import type { ConnectionEnd } from '../../call/call-event.js';
import type { ConnectionSnapshot, ConnectivityState } from '../../call/connectivity.js';
import type { ProtectionId } from '../../call/protection.js';
import { SHORT_LIVED_MS, shortLivedBackoffMs } from '../../policy/reconnect/reconnect-times.js';
import { moment, type Clock } from '../../time/clock.js';
import type { Random } from '../../time/random.js';
import { furtherPrefix } from './address-connections.js';
import type { SubchannelConnection } from '../subchannel/subchannel-connection.js';

/** A connection that was READY and has ended. */
export interface EndedConnection {
  readonly address: string;
  readonly livedMs: number;
  readonly reason: ConnectionEnd;
  /** What this side has ended the connection for; `undefined` if it has not. */
  readonly protection: ProtectionId | undefined;
  /** True if the server responded to a call after the connection was established, on this connection or another one. */
  readonly answered: boolean;
  /**
   * True if the connection closed immediately, without a response. It then counts as a failed attempt to connect. False for the first of
   * consecutive connections that close immediately, if it is undecided.
   */
  readonly closedImmediately: boolean;
  /**
   * True if the server sent GOAWAY with NO_ERROR right after the connection was established, before the first response. A response to a
   * call on the connection, or the end of the connection without a response, then decides whether the connection worked. A 'judged' event
   * reports the result. Exception: an undecided connection is never judged if it is the first of consecutive connections that close
   * immediately.
   */
  readonly isUndecided: boolean;
  readonly othersReady: boolean;
}

/** A connection that the client closed. */
export type ClosedConnection = Pick<EndedConnection, 'address' | 'livedMs' | 'reason' | 'protection'>;

/** Event about a connection that is no longer used for new calls. */
export type AddressHistoryEvent =
  /** The client closed a connection. This is no evidence about the server. */
  | { readonly type: 'closed'; readonly closed: ClosedConnection }
  /** A connection that the channel no longer used, but on which calls were still running, was lost. */
  | { readonly type: 'ended'; readonly ended: EndedConnection }
  /** An ended connection was judged: immediately, or later if it was undecided; see `EndedConnection.isUndecided`. */
  | { readonly type: 'judged'; readonly ended: EndedConnection };

/** A connection on which the server sent GOAWAY before its first response. It stays open while it carries calls. */
interface UndecidedConnection {
  readonly connection: SubchannelConnection;
  readonly ended: EndedConnection;
}

/** State and history of the connections to one address. */
interface ConnectionHistory {
  state: ConnectivityState;
  /** Start of `state`, in milliseconds since 1970. */
  since: number;
  /**
   * Time of the first failed attempt to connect since the connection was READY, or since the channel last began to use the address;
   * `undefined` if none has failed since.
   */
  failingSince: number | undefined;
  /** Number of consecutive attempts to connect that timed out since the channel last began to use the address. */
  timeouts: number;
  /** `undefined` if the connection is not READY. */
  connection: SubchannelConnection | undefined;
  /** True if the connection is READY but no longer used. */
  isReleased: boolean;
  answered: boolean;
  /** Number of consecutive connections that closed immediately. */
  immediateCloses: number;
  holdUntil: number;
  ended: number;
  /** Undecided connections, oldest first. */
  undecided: readonly UndecidedConnection[];
}

/** Maximum number of addresses with a history. Exceeded only if more addresses are in use, are held off, or have undecided connections. */
const MAX_KNOWN_ADDRESSES = 256;

export class AddressHistories {
  private readonly histories = new Map<string, ConnectionHistory>();
  /** True if the server has not responded since the last connection was established. */
  private unanswered = true;
  /** True if a connection is undecided. `answeredTo` has no effect otherwise. */
  isUndecided = false;

  constructor(
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly emit: (event: AddressHistoryEvent) => void,
  ) {}

  get ready(): readonly SubchannelConnection[] {
    return [...this.histories.values()].flatMap(({ connection }) => connection ?? []);
  }

  get known(): readonly ConnectionSnapshot[] {
    return [...this.histories].map(([address, { state, since, ended }]) => {
      return { address, state, since: moment(since).toISOString(), ended };
    });
  }

  /** The READY connection to `address`; `undefined` if there is none. */
  at(address: string): SubchannelConnection | undefined {
    return this.histories.get(address)?.connection;
  }

  /** Milliseconds until the client may reconnect to `address`; 0 or less if it may do so now. */
  holdOffMs(address: string): number {
    const history = this.histories.get(address);
    return history === undefined ? 0 : history.holdUntil - this.clock.now();
  }

  /** Earliest end of a hold-off, in monotonic milliseconds; `undefined` if no address is held off. */
  get holdOffUntil(): number | undefined {
    const now = this.clock.now();
    const held = [...this.histories.values()].flatMap(({ holdUntil }) => (holdUntil > now ? holdUntil : []));
    return held.length === 0 ? undefined : Math.min(...held);
  }

  /** Reports that the server responded to a call. All current connections then count as working. */
  answered(): void {
    if (!this.unanswered) return;
    this.unanswered = false;
    for (const history of this.histories.values()) {
      history.answered = true;
      history.immediateCloses = 0;
    }
  }

  entered(address: string, state: ConnectivityState): void {
    const history = this.history(address);
    if (history.state === state) return;
    history.state = state;
    history.since = this.clock.epoch();
    if (state === 'TRANSIENT_FAILURE') history.failingSince ??= this.clock.now();
    if (state !== 'READY') return;
    history.failingSince = undefined;
    history.timeouts = 0;
  }

  /** Reports a failed attempt to connect to `address`. `timedOut` is true if the peer did not respond within the connect timeout. */
  connectFailed(address: string, timedOut: boolean): void {
    const history = this.history(address);
    history.timeouts = timedOut ? history.timeouts + 1 : 0;
  }

  /** Number of consecutive attempts to connect to `address` that timed out. */
  timeouts(address: string): number {
    return this.histories.get(address)?.timeouts ?? 0;
  }

  /**
   * Milliseconds since the first of the failed attempts to connect to `address`; `undefined` if none has failed, or if a further connection
   * to the address is READY.
   */
  failingMs(address: string): number | undefined {
    const since = this.histories.get(address)?.failingSince;
    if (since === undefined) return undefined;
    for (const [key, { connection }] of this.histories) {
      if (connection !== undefined && key.startsWith(furtherPrefix(address))) return undefined;
    }
    return this.clock.now() - since;
  }

  /** @param connection `undefined` in simulations, which have no connections */
  connected(address: string, connection: SubchannelConnection): void {
    this.unanswered = true;
    const history = this.history(address);
    // Reports the released connection as closed, even if calls still run on it, because the history now describes the next connection.
    if (history.isReleased) this.closed(address, history);
    history.answered = false;
    history.isReleased = false;
    history.connection = connection;
    connection.whenClosed(() => {
      // Reports only a released connection: the policy reports the end of a connection in use, together with the new state of the channel.
      if (history.connection === connection && history.isReleased) {
        if (connection.end === 'unknown') this.closed(address, history);
        else this.emit({ type: 'ended', ended: this.disconnected(address) });
      }
      const undecided = history.undecided.find((one) => one.connection === connection);
      if (undecided !== undefined) this.judge(history, [undecided], false);
    });
  }

  /**
   * Reports that the server began to respond to a call to `address` that began at `startedAt`. If the call ran on an undecided connection,
   * the response proves that the server completes the calls that it accepted before its GOAWAY, unlike a server that closes each
   * connection. The client may therefore reconnect immediately.
   */
  answeredTo(address: string | undefined, startedAt: number): void {
    const history = address === undefined ? undefined : this.histories.get(address);
    const proved = history?.undecided.filter(({ connection }) => connection.readyAt <= startedAt) ?? [];
    if (history === undefined || proved.length === 0) return;
    history.holdUntil = 0;
    history.immediateCloses = 0;
    this.judge(history, proved, true);
  }

  disconnected(address: string): EndedConnection {
    const history = this.history(address);
    const now = this.clock.now();
    const { answered, connection } = history;
    const livedMs = connection === undefined ? 0 : now - connection.readyAt;
    const reason = connection?.end ?? 'unknown';
    this.forget(history);
    const isShortLived = livedMs < SHORT_LIVED_MS && !answered;
    const isUndecided = isShortLived && reason === 'GOAWAY NO_ERROR' && connection !== undefined;
    // If the server's maximum connection age is short, a connection may end before its first response, and a GOAWAY may reject its calls. A
    // single occurrence is no evidence about the server, so the client reconnects immediately. The occurrence still counts: if the server
    // rejects each connection, the hold-off starts with the second one.
    const isFirstUndecided = isUndecided && history.immediateCloses === 0;
    const closedImmediately = isShortLived && !isFirstUndecided;
    history.immediateCloses = isShortLived ? history.immediateCloses + 1 : 0;
    if (closedImmediately) history.holdUntil = now + shortLivedBackoffMs(history.immediateCloses, this.random);
    const { protection } = connection ?? {};
    const facts = { address, livedMs, reason, protection, answered, closedImmediately };
    const ended = { ...facts, isUndecided, othersReady: this.ready.length > 0 };
    if (isUndecided && !isFirstUndecided) this.setUndecided(history, [...history.undecided, { connection, ended }]);
    return ended;
  }

  /**
   * Reports that the channel no longer uses the READY connection to `address`. If `now` is true, the connection closes with its
   * channel. Otherwise, it closes when its last call has ended.
   */
  release(address: string, now: boolean): void {
    const history = this.history(address);
    this.unused(address);
    if (now) this.closed(address, history);
    else history.isReleased = true;
  }

  private judge(history: ConnectionHistory, decided: readonly UndecidedConnection[], answered: boolean): void {
    this.setUndecided(
      history,
      history.undecided.filter((one) => !decided.includes(one)),
    );
    for (const { ended } of decided) {
      const judged = { answered, closedImmediately: !answered, isUndecided: false, othersReady: this.ready.length > 0 };
      this.emit({ type: 'judged', ended: { ...ended, ...judged } });
    }
  }

  private setUndecided(history: ConnectionHistory, undecided: readonly UndecidedConnection[]): void {
    history.undecided = undecided;
    this.isUndecided = [...this.histories.values()].some((one) => one.undecided.length > 0);
  }

  private closed(address: string, history: ConnectionHistory): void {
    const { connection } = history;
    const livedMs = connection === undefined ? 0 : this.clock.now() - connection.readyAt;
    this.forget(history);
    this.emit({ type: 'closed', closed: { address, livedMs, reason: 'subchannel shutdown', protection: undefined } });
  }

  private forget(history: ConnectionHistory): void {
    history.connection = undefined;
    history.isReleased = false;
    history.ended += 1;
  }

  private history(address: string): ConnectionHistory {
    let history = this.histories.get(address);
    if (history === undefined) {
      history = {
        state: 'IDLE',
        since: this.clock.epoch(),
        failingSince: undefined,
        timeouts: 0,
        connection: undefined,
        isReleased: false,
        answered: false,
        immediateCloses: 0,
        holdUntil: 0,
        ended: 0,
        undecided: [],
      };
      this.forgetOldest();
      this.histories.set(address, history);
    }
    return history;
  }

  /** Reports that the channel no longer uses the connection to `address`. */
  unused(address: string): void {
    const history = this.histories.get(address);
    if (history === undefined) return;
    this.entered(address, 'IDLE');
    history.failingSince = undefined;
    history.timeouts = 0;
  }

  /** Removes the oldest unused address if there are too many, because names resolve to different addresses over time. */
  private forgetOldest(): void {
    if (this.histories.size < MAX_KNOWN_ADDRESSES) return;
    const now = this.clock.now();
    for (const [address, { state, connection, undecided, holdUntil }] of this.histories) {
      if (state !== 'IDLE' || connection !== undefined || undecided.length > 0 || holdUntil > now) continue;
      this.histories.delete(address);
      return;
    }
  }
}
