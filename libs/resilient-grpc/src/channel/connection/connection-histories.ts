import type { Socket } from 'node:net';
import type { ConnectionEnd } from '../../call/connection-end.js';
import type { ConnectivityState } from '../../call/connectivity.js';
import { shortLivedBackoffMs } from '../../policy/reconnect/short-lived-backoff.js';
import type { Clock } from '../../time/clock.js';
import type { Random } from '../../time/random.js';
import { EstablishedConnection, type ConnectionOwner } from './established-connection.js';

/** A connection that was READY and is no longer. */
export interface EndedConnection {
  readonly address: string;
  readonly livedMs: number;
  readonly because: ConnectionEnd;
  /** A call on it got an answer made by the server. */
  readonly answered: boolean;
  /** It died at once, without an answer: no better than an attempt that failed. */
  readonly shortLived: boolean;
  /**
   * The server took its leave in order before its first answer. What it was worth shows with the calls on it, and is told then; of one
   * without calls it never is.
   */
  readonly inDoubt: boolean;
  /** Connections to other addresses are READY. */
  readonly othersReady: boolean;
}

/** A connection that this side closed. */
export type ClosedConnection = Pick<EndedConnection, 'address' | 'livedMs' | 'because'>;

/** Is told what becomes of connections that nobody uses for new calls any more. */
export interface HistoriesObserver {
  /** A connection was closed by this side, which says nothing of the server. */
  onClosed(closed: ClosedConnection): void;
  /** One that was in doubt is not any more: its calls went on, or it was cut off without an answer to any. */
  onJudged(judged: EndedConnection): void;
}

/** A connection that the server took its leave of before its first answer, and that is open as long as calls are on it. */
interface DoubtedConnection {
  readonly connection: EstablishedConnection;
  readonly ended: EndedConnection;
}

/** What is remembered of the connections to one address. */
interface ConnectionHistory {
  state: ConnectivityState;
  /** When that state began, in milliseconds since 1970. */
  since: number;
  readyAt: number | undefined;
  /** Undefined where it is not READY, and where its socket does not pass through our hands. */
  connection: EstablishedConnection | undefined;
  /** It is READY, and nobody uses it. */
  isLetGo: boolean;
  answered: boolean;
  /** Connections in a row that died at once. */
  shortLived: number;
  holdUntil: number;
  /** Connections that have ended. */
  ended: number;
  /** Oldest first. */
  doubted: readonly DoubtedConnection[];
}

/** One address as it is now. */
export interface KnownConnection {
  readonly address: string;
  readonly state: ConnectivityState;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** Connections to it that have ended. */
  readonly ended: number;
}

/** A connection that lived less, without an answer of the server, counts as a failed attempt. */
const SHORT_LIVED_MS = 1_000;
/** Addresses remembered at most, unless more than this many are in use. */
const KNOWN_ADDRESSES = 256;

/** What one channel of grpc-js remembers of its connections, address by address. */
export class ConnectionHistories {
  private readonly histories = new Map<string, ConnectionHistory>();
  /** Connections that take no further calls, as after GOAWAY, until their sockets are closed. */
  private readonly draining = new Set<EstablishedConnection>();
  /** Some connection has not been answered on yet. */
  private unanswered = true;
  /** Some connection is in doubt: `answeredTo` is worth calling. */
  inDoubt = false;

  constructor(
    private readonly owner: ConnectionOwner,
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly observer: HistoriesObserver,
  ) {}

  get ready(): readonly EstablishedConnection[] {
    return [...this.histories.values()].flatMap(({ connection }) => connection ?? []);
  }

  /** Connections with an open socket. */
  get open(): readonly EstablishedConnection[] {
    return this.draining.size === 0 ? this.ready : [...this.ready, ...this.draining];
  }

  get known(): readonly KnownConnection[] {
    return [...this.histories].map(([address, { state, since, ended }]) => ({ address, state, since, ended }));
  }

  /** Of the connection to `address` that is READY, where its socket is known. */
  at(address: string): EstablishedConnection | undefined {
    return this.histories.get(address)?.connection;
  }

  /** For how long `address` is not to be connected to. */
  holdOffMs(address: string): number {
    const history = this.histories.get(address);
    return history === undefined ? 0 : history.holdUntil - this.clock.now();
  }

  /** The first moment at which a hold-off ends, in monotonic milliseconds. */
  get heldUntil(): number | undefined {
    const now = this.clock.now();
    const held = [...this.histories.values()].flatMap(({ holdUntil }) => (holdUntil > now ? holdUntil : []));
    return held.length === 0 ? undefined : Math.min(...held);
  }

  /** The server answered a call: the connections there are work. */
  answered(): void {
    if (!this.unanswered) return;
    this.unanswered = false;
    for (const history of this.histories.values()) {
      history.answered = true;
      history.shortLived = 0;
    }
  }

  entered(address: string, state: ConnectivityState): void {
    const history = this.history(address);
    if (history.state === state) return;
    history.state = state;
    history.since = this.clock.epoch();
  }

  connected(address: string, socket: Socket | undefined): void {
    this.unanswered = true;
    const history = this.history(address);
    // The calls on a connection that was let go of may outlast the begin of the next one.
    if (history.isLetGo) this.closed(address, history);
    const now = this.clock.now();
    history.readyAt = now;
    history.answered = false;
    history.isLetGo = false;
    if (socket === undefined) return;
    const connection = new EstablishedConnection(address, now, socket, this.owner);
    history.connection = connection;
    socket.once('close', () => {
      this.draining.delete(connection);
      // One that is in use is told of by the policy, in order with what that does to the channel.
      if (history.connection === connection && history.isLetGo) this.closed(address, history);
      const doubted = history.doubted.find((one) => one.connection === connection);
      if (doubted !== undefined) this.judge(history, [doubted], false);
    });
  }

  /**
   * The server began to answer a call to `address` that began at `startedAt`: it goes on with what it had taken in when it took its
   * leave, as one that only comes and goes does not. So it may be connected to at once.
   */
  answeredTo(address: string, startedAt: number): void {
    const history = this.histories.get(address);
    const proved = history?.doubted.filter(({ connection }) => connection.readyAt <= startedAt) ?? [];
    if (history === undefined || proved.length === 0) return;
    history.holdUntil = 0;
    history.shortLived = 0;
    this.judge(history, proved, true);
  }

  disconnected(address: string): EndedConnection {
    const history = this.history(address);
    const now = this.clock.now();
    const livedMs = history.readyAt === undefined ? 0 : now - history.readyAt;
    const { answered, connection } = history;
    const because = connection?.end ?? 'unknown';
    if (connection?.isOpen === true) this.draining.add(connection);
    this.forget(history);
    const diedAtOnce = livedMs < SHORT_LIVED_MS && !answered;
    const inDoubt = diedAtOnce && because === 'GOAWAY NO_ERROR' && connection !== undefined;
    // A connection of a short age may end before its first answer, and a GOAWAY may reject the calls on it. The first time says nothing
    // of the server, so the next connection is made at once. It counts all the same: a server that rejects each connection is held off
    // from the second one on.
    const passedOver = inDoubt && history.shortLived === 0;
    const shortLived = diedAtOnce && !passedOver;
    history.shortLived = diedAtOnce ? history.shortLived + 1 : 0;
    if (shortLived) history.holdUntil = now + shortLivedBackoffMs(history.shortLived, this.random);
    const ended = { address, livedMs, because, answered, shortLived, inDoubt, othersReady: this.anyReady };
    if (inDoubt && !passedOver) this.doubt(history, [...history.doubted, { connection, ended }]);
    return ended;
  }

  /**
   * The channel no longer uses the READY connection to `address`. It ends now, with its channel, or when grpc-js closes it, up to 10 s
   * later. The channel may use it again before that.
   */
  letGo(address: string, now: boolean): void {
    const history = this.history(address);
    this.entered(address, 'IDLE');
    if (now || history.connection === undefined) this.closed(address, history);
    else history.isLetGo = true;
  }

  /** Whether it is told as open still: one whose socket is not known was told as closed when it was let go of. */
  takenUp(address: string): boolean {
    const history = this.history(address);
    history.isLetGo = false;
    this.entered(address, 'READY');
    return history.readyAt !== undefined;
  }

  private get anyReady(): boolean {
    return [...this.histories.values()].some(({ readyAt }) => readyAt !== undefined);
  }

  private judge(history: ConnectionHistory, judged: readonly DoubtedConnection[], answered: boolean): void {
    this.doubt(
      history,
      history.doubted.filter((one) => !judged.includes(one)),
    );
    for (const { ended } of judged) {
      this.observer.onJudged({
        ...ended,
        answered,
        shortLived: !answered,
        inDoubt: false,
        othersReady: this.anyReady,
      });
    }
  }

  private doubt(history: ConnectionHistory, doubted: readonly DoubtedConnection[]): void {
    history.doubted = doubted;
    this.inDoubt = [...this.histories.values()].some((one) => one.doubted.length > 0);
  }

  private closed(address: string, history: ConnectionHistory): void {
    const livedMs = history.readyAt === undefined ? 0 : this.clock.now() - history.readyAt;
    this.forget(history);
    this.observer.onClosed({ address, livedMs, because: 'subchannel shutdown' });
  }

  private forget(history: ConnectionHistory): void {
    history.readyAt = undefined;
    history.connection = undefined;
    history.isLetGo = false;
    history.ended += 1;
  }

  private history(address: string): ConnectionHistory {
    let history = this.histories.get(address);
    if (history === undefined) {
      history = {
        state: 'IDLE',
        since: this.clock.epoch(),
        readyAt: undefined,
        connection: undefined,
        isLetGo: false,
        answered: false,
        shortLived: 0,
        holdUntil: 0,
        ended: 0,
        doubted: [],
      };
      this.forgetOldest();
      this.histories.set(address, history);
    }
    return history;
  }

  /** The channel no longer uses the connection to `address`, which was not READY. */
  unused(address: string): void {
    if (this.histories.has(address)) this.entered(address, 'IDLE');
  }

  /** True if a connection is open that the channel no longer uses. */
  get hasLetGo(): boolean {
    return [...this.histories.values()].some(({ isLetGo }) => isLetGo);
  }

  /** Names resolve to other addresses over time. */
  private forgetOldest(): void {
    if (this.histories.size < KNOWN_ADDRESSES) return;
    const now = this.clock.now();
    for (const [address, { state, readyAt, doubted, holdUntil }] of this.histories) {
      if (state !== 'IDLE' || readyAt !== undefined || doubted.length > 0 || holdUntil > now) continue;
      this.histories.delete(address);
      return;
    }
  }
}
