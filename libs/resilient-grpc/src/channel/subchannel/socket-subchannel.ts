import { connect, type NetConnectOpts, type Socket } from 'node:net';
import {
  connectivityState,
  type Channel,
  type ChannelCredentials,
  type ChannelOptions,
  type experimental,
} from '@grpc/grpc-js';
import { errorMessage } from '../../errors/error-message.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { Random } from '../../time/random.js';
import { addressKey } from '../connection/address-key.js';
import { ConnectAttempt } from '../connection/connect-attempt.js';
import type { ConnectFailure } from '../connection/connect-failure.js';
import { callsOf } from '../quirks/channel-internals.js';
import { areSecure, createBackoff, createConnector } from '../quirks/secure-connector.js';
import { connectTarget, openTunnel } from './http-tunnel.js';
import { SubchannelChannel } from './subchannel-channel.js';
import { SubchannelConnection, type ConnectionUser } from './subchannel-connection.js';

type SubchannelInterface = experimental.SubchannelInterface;
type SubchannelAddress = experimental.SubchannelAddress;
type Listener = experimental.ConnectivityStateListener;

const { IDLE, CONNECTING, READY, TRANSIENT_FAILURE } = connectivityState;
/** Buffer size from which a socket reports that it should get no more data. */
const WRITE_HIGH_WATER = 262_144;
/**
 * Time in milliseconds after which a fresh socket connects beside one that has got no answer, and takes the place of an older one: TCP repeats
 * a lost packet ever more rarely, so the first socket would find a path that is there again up to half a minute late.
 */
const FRESH_MS = 2_000;
// Idle time in milliseconds before the first TCP keepalive probe. TCP detects an unreachable host in about this time. Servers count HTTP/2
// pings and may reject them, but do not count or reject these probes.
const TCP_KEEPALIVE_MS = 60_000;

/** What the subchannels of a channel share. */
export interface SubchannelsDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly credentials: ChannelCredentials;
  /** The channel, whose target has a scheme. */
  readonly channel: () => Channel;
  /** Returns the timeout of the next attempt to connect to an address. */
  readonly connectTimeoutMs: (key: string) => number;
  /** Returns the milliseconds until the client may reconnect to an address; 0 or less if it may do so now. */
  readonly holdOffMs: (key: string) => number;
  /** Called when a server has rejected keepalive pings, so that all connections now ping less often. */
  readonly keepaliveThrottled: (keepaliveTimeMs: number) => void;
}

export class SocketSubchannels {
  private readonly byAddress = new Map<string, SocketSubchannel>();
  /** Largest header list of requests, in bytes. Lowered when a server closes a connection over a larger one. */
  maxRequestHeaders = Infinity;
  /** Interval of keepalive pings that servers have forced on the channel. */
  private keepaliveMs = 0;
  /** True if the channel is closed: connections then close with their calls. */
  isClosed = false;

  constructor(readonly dependencies: SubchannelsDependencies) {}

  /** @param key address of the connection in the history of the channel */
  get(key: string, address: SubchannelAddress, options: ChannelOptions): SocketSubchannel {
    const subchannel = this.byAddress.get(key) ?? new SocketSubchannel(key, address, options, this);
    this.byAddress.set(key, subchannel);
    subchannel.throttleKeepalive(this.keepaliveMs);
    return subchannel;
  }

  delete(subchannel: SocketSubchannel): void {
    if (this.byAddress.get(subchannel.key) === subchannel) this.byAddress.delete(subchannel.key);
  }

  get oldestAttempt(): ConnectAttempt | undefined {
    const running = [...this.byAddress.values()].flatMap(({ runningAttempt }) => runningAttempt ?? []);
    return running.sort((a, b) => a.startedAt - b.startedAt)[0];
  }

  /** Connects to an address now, if a hold-off delays it. */
  endHoldOff(key: string): void {
    this.byAddress.get(key)?.endHoldOff();
  }

  throttle(keepaliveMs: number): void {
    if (keepaliveMs <= this.keepaliveMs) return;
    this.keepaliveMs = keepaliveMs;
    for (const subchannel of this.byAddress.values()) subchannel.throttleKeepalive(keepaliveMs);
    this.dependencies.keepaliveThrottled(keepaliveMs);
  }
}

/**
 * grpc-js's subchannel, on the transport of this library: the states, the backoff, and the connection to one address. Load-balancing policies
 * and the channel of grpc-js use it like their own.
 */
export class SocketSubchannel implements SubchannelInterface, ConnectionUser {
  /** The connection in state READY. */
  connection: SubchannelConnection | undefined;
  /** Why the latest attempt to connect failed. */
  failure: ConnectFailure | undefined;
  private connecting: SubchannelConnection | undefined;
  /** The latest connection that was replaced because the server gave it no window. */
  private stalledConnection: SubchannelConnection | undefined;
  private attempt: ConnectAttempt | undefined;
  private state = IDLE;
  private refs = 0;
  private isClosed = false;
  private continuesConnecting = false;
  private holdOff: Timer | undefined;
  private keepaliveMs: number;
  private readonly listeners = new Set<Listener>();
  private readonly producers = new Map<string, unknown>();
  private readonly connector: experimental.SecureConnector;
  private readonly isSecure: boolean;
  private readonly peer: string;
  private ownChannel: SubchannelChannel | undefined;
  private backoffTimeout: experimental.BackoffTimeout;

  constructor(
    readonly key: string,
    private readonly address: SubchannelAddress,
    private readonly options: ChannelOptions,
    private readonly owner: SocketSubchannels,
  ) {
    const { credentials, channel } = owner.dependencies;
    this.peer = addressKey(address);
    this.keepaliveMs = options['grpc.keepalive_time_ms'] ?? -1;
    this.connector = createConnector(credentials, channel().getTarget(), options);
    this.isSecure = areSecure(credentials);
    this.backoffTimeout = this.newBackoff();
  }

  private newBackoff(): experimental.BackoffTimeout {
    return createBackoff(() => this.backoffEnded(), this.options, this.owner.dependencies.random);
  }

  get maxRequestHeaders(): number {
    return this.owner.maxRequestHeaders;
  }

  limitRequestHeaders(bytes: number): void {
    this.owner.maxRequestHeaders = bytes;
  }

  get isUsed(): boolean {
    return this.refs > 0;
  }

  get runningAttempt(): ConnectAttempt | undefined {
    return this.state === CONNECTING ? this.attempt : undefined;
  }

  // ── of grpc-js ──

  getConnectivityState(): connectivityState {
    return this.state;
  }

  addConnectivityStateListener(listener: Listener): void {
    this.listeners.add(listener);
  }

  removeConnectivityStateListener(listener: Listener): void {
    this.listeners.delete(listener);
  }

  /**
   * Connects, at the end of the hold-off of the address. grpc-js resets the backoff when a connection is READY, so without the hold-off, it
   * would connect 150 times a second to a server that closes each connection after it sends SETTINGS.
   */
  startConnecting(): void {
    const { clock, holdOffMs } = this.owner.dependencies;
    const holdMs = this.state === IDLE ? holdOffMs(this.key) : 0;
    if (holdMs > 0) {
      this.holdOff ??= clock.setTimer(() => this.endHoldOff(), holdMs);
      return;
    }
    process.nextTick(() => {
      if (!this.move([IDLE], CONNECTING) && this.state === TRANSIENT_FAILURE) this.continuesConnecting = true;
    });
  }

  endHoldOff(): void {
    if (this.holdOff === undefined) return;
    this.holdOff.clear();
    this.holdOff = undefined;
    this.startConnecting();
  }

  endBackoff(): void {
    if (this.state === TRANSIENT_FAILURE) this.resetBackoff();
  }

  /** Time in milliseconds since 1970; `undefined` if no backoff is running. */
  get backoffEndsAt(): number | undefined {
    return this.state === TRANSIENT_FAILURE ? this.backoffTimeout.getEndTime().getTime() : undefined;
  }

  resetBackoff(): void {
    process.nextTick(() => {
      this.backoffTimeout.reset();
      this.move([TRANSIENT_FAILURE], CONNECTING);
    });
  }

  getAddress(): string {
    return this.peer;
  }

  throttleKeepalive(ms: number): void {
    if (this.keepaliveMs > 0) this.keepaliveMs = Math.max(this.keepaliveMs, ms);
  }

  ref(): void {
    this.refs += 1;
  }

  unref(): void {
    this.refs -= 1;
  }

  getChannelzRef(): ReturnType<SubchannelInterface['getChannelzRef']> {
    // Safe: channelz, which is not exported, compares the kind with this text.
    return { kind: 'subchannel', id: 0, name: this.peer } as ReturnType<SubchannelInterface['getChannelzRef']>;
  }

  isHealthy(): boolean {
    return true;
  }

  addHealthStateWatcher(): void {
    // A connection has no health of its own.
  }

  removeHealthStateWatcher(): void {
    // See above.
  }

  addDataWatcher(): void {
    throw new Error('only wrappers of subchannels have data watchers');
  }

  getOrCreateDataProducer<T>(name: string, create: (subchannel: SubchannelInterface) => T): T {
    const producer = this.producers.get(name) ?? create(this);
    this.producers.set(name, producer);
    // Safe: a name stands for one type.
    return producer as T;
  }

  removeDataProducer(name: string): void {
    this.producers.delete(name);
  }

  getRealSubchannel(): ReturnType<SubchannelInterface['getRealSubchannel']> {
    // Safe: this class has the members of grpc-js's class that grpc-js and this library use.
    return this as unknown as ReturnType<SubchannelInterface['getRealSubchannel']>;
  }

  realSubchannelEquals(other: SubchannelInterface): boolean {
    return other.getRealSubchannel() === this.getRealSubchannel();
  }

  getCallCredentials(): ReturnType<SubchannelInterface['getCallCredentials']> {
    return this.connector.getCallCredentials();
  }

  getChannel(): Channel {
    // Safe: users of the channel of one connection only create calls.
    return this.connectionChannel as unknown as Channel;
  }

  /** Calls on this connection that are no calls of the channel. */
  get connectionChannel(): SubchannelChannel {
    return (this.ownChannel ??= new SubchannelChannel(this, callsOf(this.owner.dependencies.channel()).authority));
  }

  /**
   * Returns the connection for a call; `undefined` if the subchannel has none that takes calls.
   *
   * @param fields names and values, in turn
   * @throws RangeError if the peer would end the connection because of the size of the metadata
   */
  connectionFor(path: string, authority: string, fields: readonly string[]): SubchannelConnection | undefined {
    const { connection } = this;
    if (connection?.isUsable !== true) return undefined;
    const excess = connection.excess(path, authority, fields);
    if (excess !== undefined) throw new RangeError(excess);
    return connection;
  }

  // ── states ──

  private move(from: readonly connectivityState[], to: connectivityState, error?: string): boolean {
    if (!from.includes(this.state) || (this.isClosed && to !== IDLE)) return false;
    const before = this.state;
    this.state = to;
    if (to === READY) {
      this.backoffTimeout.stop();
      this.backoffTimeout = this.newBackoff();
    } else if (to === CONNECTING) {
      this.backoffTimeout.runOnce();
      this.continuesConnecting = false;
      void this.connect();
    } else {
      this.connection?.socket.drain();
      this.connection = undefined;
      const { connecting } = this;
      this.connecting = undefined;
      connecting?.socket.drain();
      // The time to wait has passed while the attempt was running.
      if (to === TRANSIENT_FAILURE && !this.backoffTimeout.isRunning()) process.nextTick(() => this.backoffEnded());
    }
    for (const listener of this.listeners) listener(this, before, to, this.keepaliveMs, error);
    return true;
  }

  private backoffEnded(): void {
    this.move([TRANSIENT_FAILURE], this.continuesConnecting ? CONNECTING : IDLE);
  }

  /** Closes the connection: immediately if the channel is closed, otherwise when its last call has ended. */
  close(): void {
    this.isClosed = true;
    this.owner.delete(this);
    this.backoffTimeout.stop();
    this.holdOff?.clear();
    if (this.state === CONNECTING || this.owner.isClosed) this.attempt?.abort('the channel was closed');
    this.connector.destroy();
    this.move([CONNECTING, READY, TRANSIENT_FAILURE], IDLE);
  }

  private async connect(): Promise<void> {
    const { key, peer, options, keepaliveMs, owner } = this;
    const { clock, connectTimeoutMs } = owner.dependencies;
    const connection = new SubchannelConnection(key, peer, options, keepaliveMs, this, clock);
    this.connecting = connection;
    const server = connectTarget(options);
    const attempt = new ConnectAttempt(key, connectTimeoutMs(key), clock, server);
    this.attempt = attempt;
    try {
      await attempt.prepare(this.connector.waitForReady());
      const isRead = server === undefined && !this.isSecure;
      const opened =
        server === undefined
          ? open(this.address, attempt.signal, isRead ? connection : undefined, clock)
          : openTunnel(this.address, options, attempt.signal);
      const tcp = await opened;
      tcp.setKeepAlive(true, TCP_KEEPALIVE_MS);
      const secured = await attempt.secure(tcp, this.connector.connect(tcp));
      if (secured.socket.closed) throw new Error('Failed to connect');
      if (this.connecting === connection) connection.start(tcp, secured, isRead);
      else secured.socket.destroy();
    } catch (error) {
      this.failed(connection, error);
    }
  }

  // ── of the connection ──

  connected(connection: SubchannelConnection): void {
    if (this.connecting !== connection) return;
    this.connecting = undefined;
    this.connection = connection;
    this.attempt?.end();
    this.move([CONNECTING], READY);
  }

  failed(connection: SubchannelConnection, error: unknown): void {
    if (this.connecting !== connection) return;
    this.connecting = undefined;
    this.failure = this.attempt?.failure(error);
    this.attempt?.end();
    this.move([CONNECTING], TRANSIENT_FAILURE, errorMessage(error));
  }

  closing(connection: SubchannelConnection, isTooManyPings: boolean): void {
    // After a GOAWAY, a connection closes when its last call ends, while a newer one carries the others.
    if (this.connection !== connection) return;
    if (isTooManyPings && this.keepaliveMs > 0) this.owner.throttle(this.keepaliveMs * 2);
    this.move([READY], IDLE);
  }

  stalled(connection: SubchannelConnection): void {
    // One at a time: a server that reads slowly must not get ever more to read.
    if (this.stalledConnection?.socket.http2.isEnded === false) return;
    this.stalledConnection = connection;
    connection.protection = 'window-stall';
    connection.end = 'subchannel shutdown';
    this.closing(connection, false);
  }
}

/** Opens a socket. With `reader`, the socket reads for that connection. */
function open(
  address: SubchannelAddress,
  signal: AbortSignal,
  reader: SubchannelConnection | undefined,
  clock: Clock,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    // The types of Node lack the option for the writable side.
    const options: NetConnectOpts & { writableHighWaterMark: number } = {
      ...address,
      signal,
      noDelay: true,
      writableHighWaterMark: WRITE_HIGH_WATER,
    };
    let sockets: readonly Socket[] = [];
    let timer: Timer | undefined;
    const end = (connected?: Socket): void => {
      timer?.clear();
      for (const socket of sockets) if (socket !== connected) socket.destroy();
    };
    const begin = (): void => {
      const [older, newer] = sockets;
      const socket = connect(reader === undefined ? options : { ...options, onread: reader.socket.onread });
      if (newer !== undefined) older?.destroy();
      sockets = [...sockets.slice(-1), socket];
      const fail = (error: Error): void => {
        end();
        reject(error);
      };
      socket.once('error', fail);
      socket.once('connect', () => {
        socket.off('error', fail);
        end(socket);
        resolve(socket);
      });
      timer = clock.setTimer(begin, FRESH_MS);
    };
    begin();
  });
}
