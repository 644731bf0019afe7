import { randomUUID } from 'node:crypto';
import { connectivityState, type ChannelOptions, type experimental } from '@grpc/grpc-js';
import { AddressUpdates, type AddressUpdate } from './address-updates.js';
import type { ConnectionProbe } from './connection-probe.js';
import type { ConnectionStream, StreamOpening } from './connection-stream.js';
import { gatedSubchannelClass, type HoldOff } from './gated-subchannel.js';
import { ObservedConnection, type ConnectionObserver } from './observed-connection.js';
import { policyParts, type PolicyParts } from '../quirks/experimental.js';
import { realSubchannel } from '../quirks/subchannel.js';
import { stateName } from '../state-name.js';
import { StatusCode } from '../../status/status-code.js';
import type { ConnectivityState } from '../../call/connectivity.js';
import type { Clock } from '../../time/clock.js';

type ChannelControlHelper = experimental.ChannelControlHelper;
type LoadBalancer = experimental.LoadBalancer;
type TypedLoadBalancingConfig = experimental.TypedLoadBalancingConfig;
type SubchannelInterface = experimental.SubchannelInterface;
type SubchannelAddress = experimental.SubchannelAddress;

/** Name under which the first copy of this library in a process registers the policy with grpc-js; further copies add a number. */
const POLICY_NAME = 'nestjs_resilient_grpc';
/**
 * Channel option that holds the channel's `PolicyOwner`. Service configs are JSON and cannot hold one, so no service config can make a
 * policy report to another channel. grpc-js does not copy options with this prefix to subchannels.
 */
const OWNER_OPTION = 'grpc.internal.no_subchannel.nestjs_resilient_grpc';

/** What the policy tells its channel, and asks of it. */
export interface PolicyObserver extends ConnectionObserver, HoldOff {
  readonly clock: Clock;
  /** The whole channel's state, after grpc-js has been told. `error` comes with TRANSIENT_FAILURE. */
  onState(state: ConnectivityState, error: string | undefined): void;
  /** The name could not be resolved, or has no address: `onState` follows. */
  onUnresolved(): void;
  /** The resolver reported more addresses than are used. */
  onAddressesLimited(reported: number, used: number): void;
  /** grpc-js destroyed the policy: the channel is idle, or closed. */
  onDestroyed(): void;
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

/**
 * The owner of one policy: one channel. All fields are private, because grpc-js writes channel options as JSON when it traces.
 */
class PolicyOwner {
  /** Random, so that a service config from outside cannot name it. */
  readonly #id = randomUUID();
  readonly #observer: PolicyObserver;
  #policy: ObservingPolicy | undefined;
  #refusal: string | undefined;
  #isReleased = false;

  constructor(observer: PolicyObserver) {
    this.#observer = observer;
  }

  get id(): string {
    return this.#id;
  }

  get observer(): PolicyObserver {
    return this.#observer;
  }

  get control(): PolicyControl | undefined {
    return this.#policy;
  }

  /** Why no policy is in force, if a service config from outside is the reason. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  /** True if the channel is closed. */
  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** True if `policy` reports to this owner from now on; false if another one does. */
  claim(policy: ObservingPolicy): boolean {
    this.#policy ??= policy;
    this.#refusal = undefined;
    return this.#policy === policy;
  }

  refuse(because: string): void {
    if (this.#policy === undefined) this.#refusal = because;
  }

  yield(policy: ObservingPolicy): void {
    if (this.#policy === policy) this.#policy = undefined;
  }

  release(): void {
    this.#isReleased = true;
  }
}

/** Owner of a policy, created by this copy of the library or by another copy in the process. */
type RefusableOwner = Pick<PolicyOwner, 'refuse'>;

function isRefusable(value: unknown): value is RefusableOwner {
  return typeof (value as Partial<RefusableOwner> | undefined)?.refuse === 'function';
}

/** Name under which this copy registered the policy; empty until then. */
let policyName = '';
/** Set by the registration. */
let parts: PolicyParts;

/** The policy's place in the options of one channel. */
export interface PolicyHandle {
  /** For the channel option `grpc.service_config`. */
  readonly loadBalancingConfig: readonly Readonly<Record<string, unknown>>[];
  /** The other channel options that the policy needs. */
  readonly channelOptions: ChannelOptions;
  /** `undefined` until grpc-js has created the policy, and while the channel is idle. */
  readonly control: PolicyControl | undefined;
  /** Why there is no `control`, if a service config from outside names the policy. */
  readonly refusal: string | undefined;
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
  const owner = new PolicyOwner(observer);
  return {
    loadBalancingConfig: [{ [policyName]: { id: owner.id, child: children } }],
    channelOptions: { [OWNER_OPTION]: owner },
    get control() {
      return owner.control;
    },
    get refusal() {
      return owner.refusal;
    },
    release: () => {
      owner.release();
    },
  };
}

/** True if `name` is this library's own policy, which only this library may name. */
export function isObservingPolicy(name: string): boolean {
  return name.startsWith(POLICY_NAME);
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
      super(helper, (child, connection, observer) => new Gated(child, connection, observer));
    }
  }
  // Copies of this library may share one grpc-js, where a policy replaces the one registered before under its name.
  policyName = POLICY_NAME;
  for (let copy = 2; parts.isLoadBalancerNameRegistered(policyName); copy++)
    policyName = `${POLICY_NAME}_${String(copy)}`;
  parts.registerLoadBalancerType(policyName, Policy, ObservingPolicyConfig);
  return true;
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
  static createFromJson(json: { readonly id: unknown; readonly child: object[] }): ObservingPolicyConfig {
    // True: what stands in a service config is an array of objects with one key each.
    const child = parts.selectLbConfigFromList(json.child as Parameters<PolicyParts['selectLbConfigFromList']>[0]);
    if (child === null) throw new Error(`none of the load-balancing policies is known: ${JSON.stringify(json.child)}`);
    return new ObservingPolicyConfig(String(json.id), child);
  }
}

type MakeGated = (
  child: SubchannelInterface,
  connection: ObservedConnection,
  observer: PolicyObserver,
) => SubchannelInterface;

/** Passes everything between the channel and the child policy, and reports what it sees to the observer. */
class ObservingPolicy implements LoadBalancer, PolicyControl {
  private readonly child: experimental.ChildLoadBalancerHandler;
  private owner: PolicyOwner | undefined;
  /** By grpc-js's subchannel. */
  private readonly known = new WeakMap<object, ObservedConnection>();
  /** Those that the child policy uses. */
  private readonly connections = new Set<ObservedConnection>();
  /** Those that it released during an update, which may use them again: round_robin recreates its children. */
  private released: Set<ObservedConnection> | undefined;
  /** The child policy receives an update without addresses. */
  private isUnresolved = false;
  private updates: AddressUpdates | undefined;

  constructor(
    private readonly helper: ChannelControlHelper,
    private readonly gate: MakeGated,
  ) {
    this.child = new parts.ChildLoadBalancerHandler(
      parts.createChildChannelControlHelper(helper, {
        createSubchannel: (address, args) => this.createSubchannel(address, args),
        updateState: (state, picker, error) => {
          helper.updateState(state, picker, error);
          if (this.isUnresolved && stateName(state) === 'TRANSIENT_FAILURE') this.owner?.observer.onUnresolved();
          this.owner?.observer.onState(stateName(state), error ?? undefined);
        },
      }),
    );
  }

  private createSubchannel(address: SubchannelAddress, args: ChannelOptions): SubchannelInterface {
    const { owner } = this;
    if (owner === undefined) return this.helper.createSubchannel(address, args);
    const { observer } = owner;
    const subchannel = this.helper.createSubchannel(observer.abortable(address), {
      ...args,
      ...observer.argumentsFor(address),
    });
    const real = realSubchannel(subchannel);
    let connection = this.known.get(real);
    if (connection === undefined) {
      connection = new ObservedConnection(subchannel, observer, this);
      this.known.set(real, connection);
    }
    return this.gate(subchannel, connection, observer);
  }

  onUsed(connection: ObservedConnection): void {
    this.connections.add(connection);
  }

  onUnused(connection: ObservedConnection): void {
    if (this.released === undefined) this.leave(connection);
    else this.released.add(connection);
  }

  private leave(connection: ObservedConnection): void {
    this.connections.delete(connection);
    connection.stop();
  }

  /** Runs `change`, then leaves the connections that it released and did not use again. */
  private updating<T>(change: () => T): T {
    const released = new Set<ObservedConnection>();
    this.released = released;
    try {
      return change();
    } finally {
      this.released = undefined;
      for (const connection of released) if (!connection.isUsed) this.leave(connection);
    }
  }

  updateAddressList(
    endpoints: Parameters<LoadBalancer['updateAddressList']>[0],
    config: TypedLoadBalancingConfig,
    options: ChannelOptions,
    note: string,
  ): boolean {
    if (!(config instanceof ObservingPolicyConfig)) return false;
    const owner: unknown = options[OWNER_OPTION];
    if (!(owner instanceof PolicyOwner)) return this.refuse(isRefusable(owner) ? owner : undefined);
    // A closed channel: the result of a resolution that was under way. The child would connect.
    if (owner.isReleased) return true;
    if (owner.id !== config.id || !owner.claim(this)) return this.refuse(owner);
    this.owner = owner;
    this.updates ??= new AddressUpdates(owner.observer.clock, this.update, (reported, used) => {
      owner.observer.onAddressesLimited(reported, used);
    });
    return this.updates.take(endpoints, config.child, options, note);
  }

  private readonly update = (...update: AddressUpdate): boolean => {
    const [endpoints] = update;
    // With former addresses a child policy continues; without any it reports a failure, and no connection failed before.
    this.isUnresolved = !endpoints.ok || endpoints.value.length === 0;
    try {
      return this.updating(() => this.child.updateAddressList(...update));
    } finally {
      this.isUnresolved = false;
    }
  };

  /**
   * A service config from outside names the policy. What is in force stays; a channel without anything in force fails its calls. No
   * other channel is affected.
   */
  private refuse(owner: RefusableOwner | undefined): boolean {
    if (this.owner !== undefined) return false;
    const details = `load-balancing policy ${policyName} is internal to nestjs-resilient-grpc; remove it from the service config`;
    const picker = new parts.UnavailablePicker({ code: StatusCode.UNAVAILABLE, details });
    owner?.refuse(details);
    this.helper.updateState(connectivityState.TRANSIENT_FAILURE, picker, details);
    // Accepted: otherwise grpc-js would queue the calls until their deadlines.
    return true;
  }

  exitIdle(): void {
    this.child.exitIdle();
  }

  resetBackoff(): void {
    this.child.resetBackoff();
  }

  destroy(): void {
    this.updates?.stop();
    this.updates = undefined;
    this.updating(() => {
      this.child.destroy();
    });
    const { owner } = this;
    this.owner = undefined;
    owner?.yield(this);
    owner?.observer.onDestroyed();
  }

  getTypeName(): string {
    return policyName;
  }

  endBackoff(): void {
    for (const connection of this.connections) connection.endBackoff();
  }

  backoffEndsAt(): number | undefined {
    let earliest: number | undefined;
    for (const connection of this.connections) {
      const at = connection.backoffEndsAt();
      if (at !== undefined && (earliest === undefined || at < earliest)) earliest = at;
    }
    return earliest;
  }

  probe(address: string): ConnectionProbe | undefined {
    for (const connection of this.connections) {
      const probe = connection.address === address ? connection.probe() : undefined;
      if (probe !== undefined) return probe;
    }
    return undefined;
  }

  openStream(opening: StreamOpening): ConnectionStream | undefined {
    for (const connection of this.connections) {
      const stream = connection.openStream(opening);
      if (stream !== undefined) return stream;
    }
    return undefined;
  }
}
