import { experimental, type ChannelOptions } from '@grpc/grpc-js';
import type { WatchedSession } from './connection-end.js';
import { ConnectionProbe } from './connection-probe.js';
import { ConnectionStream, type StreamOpening } from './connection-stream.js';
import { stateName } from './state-name.js';
import type { ConnectivityState } from '../call/connectivity.js';

type ChannelControlHelper = experimental.ChannelControlHelper;
type LoadBalancer = experimental.LoadBalancer;
type TypedLoadBalancingConfig = experimental.TypedLoadBalancingConfig;
type SubchannelInterface = experimental.SubchannelInterface;
type SubchannelAddress = experimental.SubchannelAddress;

/** Name under which the policy is registered with grpc-js. */
const POLICY_NAME = 'nestjs_resilient_grpc';

/** What the policy tells its channel, and asks of it. */
export interface PolicyObserver {
  /** The whole channel's state, after grpc-js has been told. `error` comes with TRANSIENT_FAILURE. */
  onState(state: ConnectivityState, error: string | undefined): void;
  /** The name could not be resolved, or has no address: `onState` follows. */
  onUnresolved(): void;
  /** A connection to `address` changed from one state to another. */
  onConnection(address: string, from: ConnectivityState, to: ConnectivityState, error: string | undefined): void;
  /** What runs on the connection to `address` that has just become READY, where this grpc-js shows it. */
  onSession(address: string, session: WatchedSession): void;
  /** The connection to `address` is READY, and nobody uses it any more: the channel goes idle, or is closed. */
  onLetGo(address: string): void;
  /** It was READY all the time, and is used again. */
  onTakenUp(address: string): void;
  /** The server found our pings too many; grpc-js will ping every `keepaliveTimeMs` from now on. */
  onKeepaliveThrottled(address: string, keepaliveTimeMs: number): void;
  /** Milliseconds before a connection to `address` may be tried again; 0: at once. */
  holdOffMs(address: string): number;
  /** Runs `task` after `ms`; returns how to take it back. */
  later(task: () => void, ms: number): () => void;
  /** The address as it is handed to grpc-js, so that an attempt to connect to it can be ended. */
  abortable(address: SubchannelAddress): SubchannelAddress;
  /** Joined to the arguments of a connection to `address`. */
  argumentsFor(address: SubchannelAddress): ChannelOptions;
}

/** What a channel can do to its connections through the policy. */
export interface PolicyControl {
  /** Ends the backoff of every connection that waits in one: they are tried at once. */
  endBackoff(): void;
  /** When the earliest backoff ends, in milliseconds since 1970. */
  backoffEndsAt(): number | undefined;
  /** How to ask the connection to `address`; undefined while it is not READY, or where this grpc-js lets nobody ask. */
  probe(address: string): ConnectionProbe | undefined;
  /** Opens a stream on one connection that is READY; undefined while none is, or where this grpc-js lets nobody do so. */
  openStream(opening: StreamOpening): ConnectionStream | undefined;
}

interface Registration {
  readonly observer: PolicyObserver;
  control: PolicyControl | undefined;
}

const registrations = new Map<string, Registration>();
let nextId = 1;
let registered = false;

/** Our place in one channel's service config. */
export interface PolicyHandle {
  /** For the channel option `grpc.service_config`. */
  readonly loadBalancingConfig: readonly Readonly<Record<string, unknown>>[];
  /** Undefined until grpc-js has made the policy, and again while the channel is idle. */
  readonly control: PolicyControl | undefined;
  release(): void;
}

/**
 * Puts `observer` around the child policies asked for. Undefined where this grpc-js lacks what it needs.
 *
 * grpc-js's public channel shows too little (42 attempts to connect were two changes of state) and lets nobody end a backoff.
 * A load-balancing policy sees each connection and passes every call unchanged.
 */
export function observeConnections(
  children: readonly Readonly<Record<string, unknown>>[],
  observer: PolicyObserver,
): PolicyHandle | undefined {
  if (!register()) return undefined;
  const id = String(nextId++);
  const registration: Registration = { observer, control: undefined };
  registrations.set(id, registration);
  return {
    loadBalancingConfig: [{ [POLICY_NAME]: { id, child: children } }],
    get control() {
      return registration.control;
    },
    release: () => {
      registrations.delete(id);
    },
  };
}

/** Registers the policy with grpc-js once. Not at import: importing this library changes nothing. */
function register(): boolean {
  if (registered) return true;
  // True at every grpc-js this was written for; a later one may have moved an experimental name.
  const seams: Partial<typeof experimental> = experimental;
  if (
    seams.registerLoadBalancerType === undefined ||
    seams.createChildChannelControlHelper === undefined ||
    seams.ChildLoadBalancerHandler === undefined ||
    seams.BaseSubchannelWrapper === undefined ||
    seams.selectLbConfigFromList === undefined
  ) {
    return false;
  }
  const Gated = gatedSubchannelClass(seams.BaseSubchannelWrapper);
  class Policy extends ObservingPolicy {
    constructor(helper: ChannelControlHelper) {
      super(helper, (child, observer) => new Gated(child, observer));
    }
  }
  seams.registerLoadBalancerType(POLICY_NAME, Policy, ObservingPolicyConfig);
  registered = true;
  return true;
}

/** Our part of a service config: whom to tell, and the policy that balances. */
class ObservingPolicyConfig implements TypedLoadBalancingConfig {
  constructor(
    readonly id: string,
    readonly child: TypedLoadBalancingConfig,
  ) {}

  getLoadBalancerName(): string {
    return POLICY_NAME;
  }

  toJsonObject(): object {
    return { [POLICY_NAME]: { id: this.id, child: [this.child.toJsonObject()] } };
  }

  /** @throws Error when no child policy is known; grpc-js then reports the whole config as unusable. */
  static createFromJson(json: { readonly id: string; readonly child: object[] }): ObservingPolicyConfig {
    // True: what stands in a service config is an array of objects with one key each.
    const child = experimental.selectLbConfigFromList(
      json.child as Parameters<typeof experimental.selectLbConfigFromList>[0],
    );
    if (child === null) throw new Error(`none of the load-balancing policies is known: ${JSON.stringify(json.child)}`);
    return new ObservingPolicyConfig(json.id, child);
  }
}

type MakeGated = (child: SubchannelInterface, observer: PolicyObserver) => SubchannelInterface;

/** Passes everything between the channel and the child policy, and tells the observer what it sees. */
class ObservingPolicy implements LoadBalancer {
  private readonly child: experimental.ChildLoadBalancerHandler;
  private registration: Registration | undefined;
  private readonly connections = new Map<unknown, ObservedConnection>();
  /** The child policy is being told that there is no address. */
  private isUnresolved = false;

  constructor(
    private readonly helper: ChannelControlHelper,
    private readonly gate: MakeGated,
  ) {
    this.child = new experimental.ChildLoadBalancerHandler(
      experimental.createChildChannelControlHelper(helper, {
        createSubchannel: (address, args) => this.createSubchannel(address, args),
        updateState: (state, picker, error) => {
          helper.updateState(state, picker, error);
          if (this.isUnresolved && stateName(state) === 'TRANSIENT_FAILURE') this.registration?.observer.onUnresolved();
          this.registration?.observer.onState(stateName(state), error ?? undefined);
        },
      }),
    );
  }

  private createSubchannel(address: SubchannelAddress, args: ChannelOptions): SubchannelInterface {
    const registration = this.registration;
    if (registration === undefined) return this.helper.createSubchannel(address, args);
    const { observer } = registration;
    const subchannel = this.helper.createSubchannel(observer.abortable(address), {
      ...args,
      ...observer.argumentsFor(address),
    });
    const real = subchannel.getRealSubchannel();
    if (!this.connections.has(real)) this.connections.set(real, new ObservedConnection(subchannel, observer));
    this.forgetUnused(real);
    return this.gate(subchannel, observer);
  }

  /** Names resolve to other addresses over time: what is idle and no longer asked for need not be watched. */
  private forgetUnused(justAsked: unknown): void {
    if (this.connections.size <= 64) return;
    for (const [real, connection] of this.connections) {
      if (this.connections.size <= 32) return;
      if (real === justAsked || !connection.idle) continue;
      connection.stop();
      this.connections.delete(real);
    }
  }

  updateAddressList(
    endpoints: Parameters<LoadBalancer['updateAddressList']>[0],
    config: TypedLoadBalancingConfig,
    options: ChannelOptions,
    note: string,
  ): boolean {
    if (!(config instanceof ObservingPolicyConfig)) return false;
    this.registration = registrations.get(config.id);
    if (this.registration !== undefined) this.registration.control = this;
    // With addresses of before a child goes on; without any it says that it has failed, and there was no connection to see fail.
    this.isUnresolved = !endpoints.ok || endpoints.value.length === 0;
    try {
      return this.child.updateAddressList(endpoints, config.child, options, note);
    } finally {
      this.isUnresolved = false;
    }
  }

  exitIdle(): void {
    this.child.exitIdle();
  }

  resetBackoff(): void {
    this.child.resetBackoff();
  }

  destroy(): void {
    this.child.destroy();
    for (const connection of this.connections.values()) connection.stop();
    this.connections.clear();
    if (this.registration?.control === this) this.registration.control = undefined;
    this.registration?.observer.onState('IDLE', undefined);
    this.registration = undefined;
  }

  getTypeName(): string {
    return POLICY_NAME;
  }

  endBackoff(): void {
    for (const connection of this.connections.values()) connection.endBackoff();
  }

  backoffEndsAt(): number | undefined {
    let earliest: number | undefined;
    for (const connection of this.connections.values()) {
      const at = connection.backoffEndsAt();
      if (at !== undefined && (earliest === undefined || at < earliest)) earliest = at;
    }
    return earliest;
  }

  probe(address: string): ConnectionProbe | undefined {
    for (const connection of this.connections.values()) {
      const probe = connection.address === address ? connection.probe() : undefined;
      if (probe !== undefined) return probe;
    }
    return undefined;
  }

  openStream(opening: StreamOpening): ConnectionStream | undefined {
    for (const connection of this.connections.values()) {
      const stream = connection.openStream(opening);
      if (stream !== undefined) return stream;
    }
    return undefined;
  }
}

/** Watches one connection of the pool, however many wrappers the child policy has around it. */
class ObservedConnection {
  readonly address: string;
  private readonly listener: experimental.ConnectivityStateListener;
  private keepaliveTimeMs: number | undefined;

  constructor(
    private readonly subchannel: SubchannelInterface,
    private readonly observer: PolicyObserver,
  ) {
    const address = subchannel.getAddress();
    this.address = address;
    this.listener = (_, from, to, keepaliveTimeMs, error) => {
      if (this.keepaliveTimeMs !== undefined && keepaliveTimeMs > this.keepaliveTimeMs) {
        observer.onKeepaliveThrottled(address, keepaliveTimeMs);
      }
      this.keepaliveTimeMs = keepaliveTimeMs;
      observer.onConnection(address, stateName(from), stateName(to), error);
      if (stateName(to) === 'READY') this.showSession();
    };
    if (stateName(subchannel.getConnectivityState()) === 'READY') observer.onTakenUp(address);
    // Before the child policy adds its own, so that what is known here is known when that one acts.
    subchannel.addConnectivityStateListener(this.listener);
  }

  private showSession(): void {
    // In this turn it has not got its transport yet.
    queueMicrotask(() => {
      // True at every grpc-js this was written for; another may have no such fields, hence the question marks.
      const { transport } = this.subchannel.getRealSubchannel() as unknown as {
        readonly transport?: { readonly session?: WatchedSession } | null;
      };
      if (transport?.session !== undefined) this.observer.onSession(this.address, transport.session);
    });
  }

  get idle(): boolean {
    return stateName(this.subchannel.getConnectivityState()) === 'IDLE';
  }

  probe(): ConnectionProbe | undefined {
    return this.ready ? ConnectionProbe.of(this.subchannel) : undefined;
  }

  openStream(opening: StreamOpening): ConnectionStream | undefined {
    return this.ready ? ConnectionStream.open(this.subchannel, opening) : undefined;
  }

  endBackoff(): void {
    if (!this.inBackoff) return;
    this.subchannel.getRealSubchannel().resetBackoff();
  }

  backoffEndsAt(): number | undefined {
    if (!this.inBackoff) return undefined;
    // Only for the text that says when the next try is: absent in another grpc-js, the text is less exact.
    const { backoffTimeout } = this.subchannel.getRealSubchannel() as unknown as {
      readonly backoffTimeout?: { getEndTime?(): Date };
    };
    return backoffTimeout?.getEndTime?.().getTime();
  }

  stop(): void {
    this.subchannel.removeConnectivityStateListener(this.listener);
    const state = stateName(this.subchannel.getConnectivityState());
    // How that attempt ends will not be seen any more: nobody may hold a connect timeout against what comes of it.
    if (state === 'CONNECTING') this.observer.onConnection(this.address, 'CONNECTING', 'IDLE', undefined);
    else if (state === 'READY') this.observer.onLetGo(this.address);
  }

  private get ready(): boolean {
    return stateName(this.subchannel.getConnectivityState()) === 'READY';
  }

  private get inBackoff(): boolean {
    return stateName(this.subchannel.getConnectivityState()) === 'TRANSIENT_FAILURE';
  }
}

/**
 * A connection that is not tried again before its hold-off is over. grpc-js forgets its backoff as soon as a connection is
 * READY, so a server that dies right after its SETTINGS is connected to 150 times a second.
 */
function gatedSubchannelClass(
  Base: typeof experimental.BaseSubchannelWrapper,
): new (child: SubchannelInterface, observer: PolicyObserver) => SubchannelInterface {
  return class GatedSubchannel extends Base {
    private cancelStart: (() => void) | undefined;

    constructor(
      child: SubchannelInterface,
      private readonly observer: PolicyObserver,
    ) {
      super(child);
    }

    override startConnecting(): void {
      const holdOffMs = this.observer.holdOffMs(this.child.getAddress());
      if (holdOffMs <= 0 || stateName(this.child.getConnectivityState()) !== 'IDLE') {
        this.child.startConnecting();
        return;
      }
      this.cancelStart ??= this.observer.later(() => {
        this.cancelStart = undefined;
        this.child.startConnecting();
      }, holdOffMs);
    }

    protected override destroy(): void {
      this.cancelStart?.();
      this.cancelStart = undefined;
      super.destroy();
    }
  };
}
