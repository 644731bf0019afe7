import type { ChannelOptions, experimental } from '@grpc/grpc-js';
import type { ConnectionProbe } from './connection-probe.js';
import type { ConnectionStream, StreamOpening } from './connection-stream.js';
import { ObservedConnection, type ConnectionObserver } from './observed-connection.js';
import { policyParts, type PolicyParts } from '../quirks/experimental.js';
import { realSubchannel } from '../quirks/subchannel.js';
import { stateName } from '../state-name.js';
import type { ConnectivityState } from '../../call/connectivity.js';

type ChannelControlHelper = experimental.ChannelControlHelper;
type LoadBalancer = experimental.LoadBalancer;
type TypedLoadBalancingConfig = experimental.TypedLoadBalancingConfig;
type SubchannelInterface = experimental.SubchannelInterface;
type SubchannelAddress = experimental.SubchannelAddress;

/** Where copies of this library in one process count themselves. */
const COPIES = Symbol.for('nestjs-resilient-grpc.copies');

/** What the policy tells its channel, and asks of it. */
export interface PolicyObserver extends ConnectionObserver {
  /** The whole channel's state, after grpc-js has been told. `error` comes with TRANSIENT_FAILURE. */
  onState(state: ConnectivityState, error: string | undefined): void;
  /** The name could not be resolved, or has no address: `onState` follows. */
  onUnresolved(): void;
  /** Milliseconds before a connection to `address` may be tried again; 0: at once. */
  holdOffMs(address: string): number;
  /** Runs `task` when they are over, or found needless; returns how to take it back. */
  afterHoldOff(address: string, task: () => void): () => void;
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
/** Name under which the policy is registered with grpc-js; none yet: it is not. */
let policyName = '';
/** Set by the registration. */
let parts: PolicyParts;

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
    loadBalancingConfig: [{ [policyName]: { id, child: children } }],
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
  if (policyName !== '') return true;
  const found = policyParts();
  if (found === undefined) return false;
  parts = found;
  const Gated = gatedSubchannelClass(parts.BaseSubchannelWrapper);
  class Policy extends ObservingPolicy {
    constructor(helper: ChannelControlHelper) {
      super(helper, (child, observer) => new Gated(child, observer));
    }
  }
  policyName = nameOfThisCopy();
  parts.registerLoadBalancerType(policyName, Policy, ObservingPolicyConfig);
  return true;
}

/** Copies share grpc-js, where a policy of the same name takes the place of the one before, and its channels with it. */
function nameOfThisCopy(): string {
  const copies = Number(Reflect.get(globalThis, COPIES) ?? 0) + 1;
  Reflect.set(globalThis, COPIES, copies);
  return copies === 1 ? 'nestjs_resilient_grpc' : `nestjs_resilient_grpc_${String(copies)}`;
}

/** Our part of a service config: whom to tell, and the policy that balances. */
class ObservingPolicyConfig implements TypedLoadBalancingConfig {
  constructor(
    readonly id: string,
    readonly child: TypedLoadBalancingConfig,
  ) {}

  getLoadBalancerName(): string {
    return policyName;
  }

  toJsonObject(): object {
    return { [policyName]: { id: this.id, child: [this.child.toJsonObject()] } };
  }

  /** @throws Error when no child policy is known; grpc-js then reports the whole config as unusable. */
  static createFromJson(json: { readonly id: string; readonly child: object[] }): ObservingPolicyConfig {
    // True: what stands in a service config is an array of objects with one key each.
    const child = parts.selectLbConfigFromList(json.child as Parameters<PolicyParts['selectLbConfigFromList']>[0]);
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
    this.child = new parts.ChildLoadBalancerHandler(
      parts.createChildChannelControlHelper(helper, {
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
    const real = realSubchannel(subchannel);
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
    const registration = registrations.get(config.id);
    // The channel is closed. What its resolver had found by then comes all the same, and the child would connect to it.
    if (registration === undefined) return true;
    this.registration = registration;
    registration.control = this;
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
    return policyName;
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
      const address = this.child.getAddress();
      if (this.observer.holdOffMs(address) <= 0 || stateName(this.child.getConnectivityState()) !== 'IDLE') {
        this.child.startConnecting();
        return;
      }
      this.cancelStart ??= this.observer.afterHoldOff(address, () => {
        this.cancelStart = undefined;
        this.child.startConnecting();
      });
    }

    protected override destroy(): void {
      this.cancelStart?.();
      this.cancelStart = undefined;
      super.destroy();
    }
  };
}
