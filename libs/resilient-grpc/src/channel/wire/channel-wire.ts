import { Channel, type ChannelOptions } from '@grpc/grpc-js';
import type { Attempt, AttemptListener, AttemptRequest } from '../../call/attempt.js';
import { type ConnectionSnapshot, type ConnectivityState, stateName } from '../../call/connectivity.js';
import type { Transport } from '../../call/method.js';
import { maskAddress } from '../../errors/error-message.js';
import { withDoctor } from '../../policy/connect-failure/connect-failures.js';
import { silenceRemedy } from '../../policy/deadline/silent-peer.js';
import type { Clock } from '../../time/clock.js';
import type { Random } from '../../time/random.js';
import { AddressHistories, type AddressHistoryEvent } from '../connection/address-histories.js';
import { connectFailure, otherFailure, plainError, type ConnectFailure } from '../connection/connect-failure.js';
import type { EndpointLoads } from '../connection/endpoint-loads.js';
import type { Endpoints } from '../connection/endpoints.js';
import { httpProxy, withProxyVariables } from '../connection/http-proxy.js';
import { IdleReadBarrier } from '../connection/idle-read-barrier.js';
import type { LivenessProbe } from '../connection/liveness-probe.js';
import type { StreamCapacity } from '../connection/policy-connections.js';
import { dnsNameOf } from '../dns/dns-refresh.js';
import { CLIENT_SEAMS, grpcJsSubjects } from '../quirks/client-seams.js';
import { hasLibraryResolver, WATCH_OPTION, WatchReceiver } from '../quirks/library-resolver.js';
import { reportMissing } from '../quirks/seam.js';
import { InterceptedAttempt } from './intercepted-attempt.js';
import type { Connecting, ConnectionEvent, Wire, WireSettings } from './wire.js';
import type { WireAttempt } from './wire-attempt.js';

/** A target whose scheme grpc-js does not know, as it looks it up. */
const UNKNOWN_SCHEME = /^dns:([a-z][\w+.-]*):\/\//i;
/**
 * What the wires of both transports share: grpc-js's channel, which resolves the name and runs the policies, its public state, and the running
 * attempts. Connections, streams, and backoffs are unknown unless the transport of this library knows them.
 */
export abstract class ChannelWire implements Wire {
  abstract readonly transport: Transport;
  abstract readonly channel: Channel;
  abstract readonly endpoints: Endpoints | undefined;
  /** Loads of the endpoints; `undefined` if no policy uses them. */
  abstract readonly loads: EndpointLoads | undefined;
  state: ConnectivityState = 'IDLE';
  readonly histories: AddressHistories;
  readonly readBarrier: IdleReadBarrier;
  /** Maximum size of a request, in bytes. */
  readonly maxSendBytes: number;
  protected active = 0;
  protected closed = false;
  protected retired = false;

  constructor(
    protected readonly settings: WireSettings,
    private readonly handle: (from: Wire, event: ConnectionEvent) => void,
    protected readonly clock: Clock,
    random: Random,
  ) {
    this.histories = new AddressHistories(clock, random, (event) => this.historyChanged(event));
    this.readBarrier = new IdleReadBarrier(() => this.histories.ready, clock);
    this.maxSendBytes = limitOf(settings.channelOptions['grpc.max_send_message_length'] ?? -1);
  }

  protected abstract startDirectly(request: AttemptRequest, listener: AttemptListener, now: number): WireAttempt;
  /** Failure of the channel in state TRANSIENT_FAILURE, if only its public state is known. */
  protected abstract publicFailure(): ConnectFailure;

  /** Creates grpc-js's channel. */
  protected openChannel(options: ChannelOptions, loadBalancingConfig: readonly object[]): Channel {
    const { target, credentials } = this.settings;
    const channelOptions = {
      ...options,
      ...(hasLibraryResolver(target) && {
        [WATCH_OPTION]: new WatchReceiver((watch) => this.emit({ type: 'endpoint-watch', watch })),
      }),
      'grpc.service_config': JSON.stringify({ loadBalancingConfig }),
    };
    reportMissing(CLIENT_SEAMS, grpcJsSubjects(), (untested) => {
      this.emit({ type: 'untested-version', ...untested });
    });
    return withProxyVariables(process.env, () => new Channel(target, credentials, channelOptions));
  }

  protected emit(event: ConnectionEvent): void {
    this.handle(this, event);
  }

  protected historyChanged(event: AddressHistoryEvent): void {
    this.emit(event);
  }

  // ── what only the transport of this library knows ──

  abstract readonly connections: readonly ConnectionSnapshot[];
  abstract readonly connecting: Connecting | undefined;
  abstract readonly hasFreeStream: boolean;
  abstract readonly streamCapacity: StreamCapacity | undefined;
  abstract readonly nextLookupAt: number | undefined;

  openAnother(): void {
    // grpc-js opens one connection to an address.
  }

  endBackoff(): void {
    // grpc-js connects when its own backoff has ended.
  }

  nextAttemptAt(): number | undefined {
    return undefined;
  }

  probe(_address: string): LivenessProbe | undefined {
    return undefined;
  }

  // ── attempts ──

  get ready(): boolean {
    return this.state === 'READY';
  }

  start(request: AttemptRequest, listener: AttemptListener, now: number): Attempt {
    if (request.interceptors === undefined) return this.startDirectly(request, listener, now);
    return new InterceptedAttempt(this, request, listener, this.clock, (changed, below) =>
      this.startDirectly(changed, below, this.clock.now()),
    );
  }

  attemptStarted(): void {
    this.active += 1;
    this.readBarrier.used();
  }

  attemptEnded(): void {
    this.active -= 1;
    this.readBarrier.used();
    if (this.retired && this.active === 0) this.close();
  }

  /** Reports that the client ended an attempt on the connection to `peer` because the attempt took too long. */
  timedOut(peer: string | undefined, startedAt: number, waitedMs: number): void {
    const connection = peer === undefined ? undefined : this.histories.at(peer);
    // A call that began before this connection was READY runs on a previous connection, which the server is draining.
    if (connection === undefined || startedAt < connection.readyAt) return;
    this.emit({ type: 'call-timed-out', connection, waitedMs });
  }

  silenceRemedy(peer: string | undefined, startedAt: number, countFrom = startedAt): string | undefined {
    const connection = peer === undefined ? undefined : this.histories.at(peer);
    const silentMs = connection?.silenceMs(startedAt, this.clock.now(), countFrom);
    if (silentMs === undefined) return undefined;
    const { channelOptions, doctorCommand } = this.settings;
    const hasKeepalive = (channelOptions['grpc.keepalive_time_ms'] ?? 0) > 0;
    return withDoctor(silenceRemedy(silentMs, hasKeepalive), doctorCommand);
  }

  // ── states ──

  connect(): void {
    // A closed grpc-js channel would connect again.
    if (!this.closed) this.channel.getConnectivityState(true);
  }

  /** grpc-js's `close()` would end running calls if keepalive is on, so it is called when the last one has ended. */
  retire(): void {
    this.retired = true;
    if (this.active === 0) this.close();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.state = 'SHUTDOWN';
    this.channel.close();
  }

  protected enter(state: ConnectivityState, error?: string): void {
    if (this.closed) return;
    this.state = state;
    this.emit({ type: 'state', state, error: error === undefined ? undefined : plainError(error) });
  }

  protected connectFailed(failure: ConnectFailure, address?: string, isFurther = false): void {
    this.emit({ type: 'connect-failed', address, isFurther, failure });
  }

  /** Failure of a name lookup. `reason` is empty if it is unknown. */
  protected resolutionFailure(reason = ''): ConnectFailure {
    const target = maskAddress(this.channel.getTarget());
    const name = dnsNameOf(target)?.host;
    const [, scheme] = UNKNOWN_SCHEME.exec(target) ?? [];
    if (scheme !== undefined) {
      const cause = `no resolver is registered for the scheme '${scheme}' of ${target.slice('dns:'.length)}`;
      return otherFailure('target-not-resolved', `${cause}, so grpc-js looks it up as a host`);
    }
    if (name === undefined) {
      return otherFailure('target-not-resolved', `${target} cannot be resolved${reason === '' ? '' : ` (${reason})`}`);
    }
    // If the environment sets an HTTP proxy, grpc-js resolves the name of the proxy.
    const owner = dnsNameOf(this.settings.target)?.host === name ? '' : ` of ${httpProxy()}`;
    return connectFailure('name-not-resolved', `the name ${name}${owner}`, reason);
  }

  /** Watches the public state of the channel, which is the only known state while there is no policy of this library. */
  protected watchPublicState(): void {
    const arm = (): void => {
      if (this.closed) return;
      const seen = this.channel.getConnectivityState(false);
      this.channel.watchConnectivityState(seen, Infinity, () => {
        this.readPublicState();
        arm();
      });
    };
    arm();
  }

  protected readPublicState(): void {
    if (this.closed) return;
    const state = stateName(this.channel.getConnectivityState(false));
    if (state === 'SHUTDOWN' || state === this.state) return;
    if (state === 'TRANSIENT_FAILURE') this.connectFailed(this.publicFailure());
    this.enter(state);
  }
}

/** Returns a limit of grpc-js, where -1 stands for none. */
export function limitOf(bytes: number): number {
  return bytes === -1 ? Infinity : bytes;
}
