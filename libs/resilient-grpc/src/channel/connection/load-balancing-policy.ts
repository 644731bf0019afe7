import { randomUUID } from 'node:crypto';
import { connectivityState, type ChannelOptions, type experimental } from '@grpc/grpc-js';
import { AddressConnections, furtherAddress, type CreatedConnection } from './address-connections.js';
import { addressKey, endpointKeys } from './address-key.js';
import { AddressUpdates, hasAddresses, type AddressUpdate, type EndpointList } from './address-updates.js';
import { PolicyConnections } from './policy-connections.js';
import { EndpointLoads } from './endpoint-loads.js';
import { EndpointPicker, SlowStartPicker, type PickableEndpoints } from './endpoint-picker.js';
import type { Endpoints } from './endpoints.js';
import { gatedSubchannelClass } from './gated-subchannel.js';
import { LOADS_OPTION, leastRequestPolicy } from './least-request-policy.js';
import { HealthWatch, type HealthWatchDependencies } from './health-watch.js';
import { ObservedConnection } from './observed-connection.js';
import type { PolicyEvent } from './policy-event.js';
import { experimental as grpcJs, isPolicyRegistered, type Experimental } from '../quirks/experimental.js';
import type { DnsRefresh } from '../dns/dns-refresh.js';
import { EndpointHandover } from './endpoint-handover.js';
import { withDecodedReports } from '../quirks/load-report.js';
import type { SocketSubchannels } from '../subchannel/socket-subchannel.js';
import { stateName, type ConnectivityState } from '../../call/connectivity.js';
import { LEAST_REQUEST_POLICY_NAME } from '../../policy/balancing/least-request.js';
import type { EjectionPolicy } from '../../policy/ejection/ejection-policy.js';
import { readOutlierDetection } from '../../policy/ejection/outlier-detection.js';
import type { Clock } from '../../time/clock.js';
import type { Random } from '../../time/random.js';

type TypedLoadBalancingConfig = experimental.TypedLoadBalancingConfig;
type SubchannelInterface = experimental.SubchannelInterface;
type SubchannelAddress = experimental.SubchannelAddress;
/** Policies, the preferred one first, in the form of `loadBalancingConfig` in a service config. */
type Policies = readonly Readonly<Record<string, unknown>>[];

/** Name under which the first copy of this library in a process registers the policy. Further copies append a number. */
const POLICY_NAME = 'nestjs_resilient_grpc';
/**
 * Channel option that holds the channel's `PolicyOwner`. Service configs are JSON and cannot contain an object of this class, so no service
 * config can make a policy report to another channel. grpc-js does not copy options with this prefix to subchannels.
 */
const OWNER_OPTION = 'grpc.internal.no_subchannel.nestjs_resilient_grpc';

/** Parts of the channel that its policy uses. */
export interface PolicyDependencies {
  readonly clock: Clock;
  readonly random: Random;
  /** Resolves the name periodically; `undefined` if it is resolved only on demand. */
  readonly refresh?: Pick<DnsRefresh, 'lookupEnded' | 'stop'> | undefined;
  readonly handle: (event: PolicyEvent) => void;
  /** Returns the maximum number of connections to one address. */
  readonly maxConnectionsPerEndpoint: () => number;
  /** Health of the endpoints; `undefined` if they are neither ejected nor checked. */
  readonly endpoints?: Endpoints | undefined;
  readonly subchannels: Pick<SocketSubchannels, 'get' | 'isClosed'>;
  /** Present if the health of the endpoints is checked. */
  readonly health?: HealthWatchDependencies | undefined;
}

interface ChildState {
  readonly state: connectivityState;
  readonly picker: experimental.Picker;
  readonly error: string | null;
}

/** Owner of one channel's policy: installs the policy with channel options, and provides access to it. */
export class PolicyOwner {
  /** ID of the owner in the config of its policy. Random, so that an external service config cannot contain it. */
  readonly id = randomUUID();
  /** The policy; `undefined` until grpc-js has created it, and while the channel is idle or uses another policy. */
  control: ObservingPolicy | undefined;
  /** Loads of the endpoints; `undefined` if no policy uses them. */
  readonly loads: EndpointLoads | undefined;
  private readonly children: Policies;

  constructor(
    children: Policies,
    readonly dependencies: PolicyDependencies,
  ) {
    this.children = children.map((child) => supported(child));
    const { clock, random } = dependencies;
    if (this.children.some((child) => leastRequestName in child)) this.loads = new EndpointLoads(clock, random);
  }

  /** Value for `loadBalancingConfig` in the channel option `grpc.service_config`. */
  get loadBalancingConfig(): Policies {
    return [{ [policyName]: { id: this.id, child: this.children } }];
  }

  get channelOptions(): ChannelOptions {
    return { [OWNER_OPTION]: this, ...(this.loads === undefined ? {} : { [LOADS_OPTION]: this.loads }) };
  }

  /** Hides the fields, because grpc-js writes channel options as JSON when it traces. */
  toJSON(): object {
    return {};
  }
}

/** Name under which this copy registered the policy; empty before the registration. */
let policyName = '';
/** Name under which this copy registered `least_request`; empty before the registration. */
let leastRequestName = '';
// Safe: the policy is registered only if the names exist (`hasTransportNames()`).
const parts = grpcJs as Experimental;
let GatedSubchannel: ReturnType<typeof gatedSubchannelClass>;

/**
 * Wraps the configured child policies in a policy that reports to the channel. The installed grpc-js must have the names that the transport
 * needs.
 *
 * grpc-js's public channel exposes too little (for example, 42 attempts to connect can appear as two state changes) and cannot end a
 * backoff. A load-balancing policy can observe each connection and end its backoff.
 */
export function observeConnections(children: Policies, dependencies: PolicyDependencies): PolicyOwner {
  register();
  return new PolicyOwner(children, dependencies);
}

/**
 * Returns `policy` with `least_request_experimental` replaced by the registered name of the library's policy, or, if the channel cannot use
 * that policy, by round_robin. Returns `policy` unchanged if the application registered a policy as `least_request_experimental`.
 */
export function supported(policy: Policies[number], isOwnUsable = true): Policies[number] {
  if (!(LEAST_REQUEST_POLICY_NAME in policy) || isPolicyRegistered(LEAST_REQUEST_POLICY_NAME) === true) return policy;
  return isOwnUsable ? { [leastRequestName]: policy[LEAST_REQUEST_POLICY_NAME] } : { round_robin: {} };
}

/**
 * Replaces outlier detection in a `loadBalancingConfig` with its child policies. Also returns the rules of outlier detection, because this
 * library ejects endpoints itself. The first supported policy in the list is used, as in grpc-js.
 */
export function childPolicies(policies: Policies): {
  readonly policies: Policies;
  readonly ejection: EjectionPolicy | undefined;
} {
  for (const policy of policies) {
    const entry = readOutlierDetection(policy);
    if (entry === undefined) {
      const [name = ''] = Object.keys(policy);
      if (isPolicyRegistered(name) ?? true) break;
    } else if (entry.ok) {
      return { policies: childPolicies(entry.childPolicy).policies, ejection: entry.ejection };
    }
  }
  return { policies, ejection: undefined };
}

/** True if `name` has the prefix of the policies that this library registers for internal use. */
export function isObservingPolicy(name: string): boolean {
  return name.startsWith(POLICY_NAME);
}

/** Registers the policies with grpc-js. Not called at import, because imports must not have side effects. */
function register(): void {
  if (policyName !== '') return;
  GatedSubchannel = gatedSubchannelClass(parts.BaseSubchannelWrapper);
  // Appends a number if the name is taken: copies of this library may share one grpc-js, and a registration replaces an earlier policy of
  // the same name.
  policyName = POLICY_NAME;
  for (let copy = 2; parts.isLoadBalancerNameRegistered(policyName); copy++)
    policyName = `${POLICY_NAME}_${String(copy)}`;
  parts.registerLoadBalancerType(policyName, ObservingPolicy, ObservingPolicyConfig);
  leastRequestName = `${policyName}_least_request`;
  parts.registerLoadBalancerType(leastRequestName, ...leastRequestPolicy(leastRequestName, parts));
}

/** The policy's entry in a service config: the id of its owner, and the child policy. */
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

  /** @throws Error if grpc-js supports none of the child policies. grpc-js then reports the whole config as invalid. */
  static createFromJson(json: { readonly id: unknown; readonly child: object[] }): ObservingPolicyConfig {
    // Safe: a service config contains an array of objects with one key each.
    const child = parts.selectLbConfigFromList(json.child as Parameters<Experimental['selectLbConfigFromList']>[0]);
    if (child === null) throw new Error(`expected a supported child policy, got ${JSON.stringify(json.child)}`);
    return new ObservingPolicyConfig(String(json.id), child);
  }
}

/** Forwards updates and states between the channel and the child policy, and reports to the channel. */
class ObservingPolicy implements experimental.LoadBalancer, PickableEndpoints {
  private readonly child: experimental.ChildLoadBalancerHandler;
  private owner: PolicyOwner | undefined;
  private readonly known = new WeakMap<object, ObservedConnection>();
  readonly connections = new PolicyConnections(() => this.isBalancing);
  /**
   * Connections that an update has released. The update may use them again, because round_robin recreates its children. After an update
   * without addresses, and failed lookups that follow it, the next addresses may use them again.
   */
  private released: Set<ObservedConnection> | undefined;
  /** The resolver's reason for an update without addresses, while the child policy handles the update. */
  private unresolved: string | undefined;
  private updates: AddressUpdates | undefined;
  private handover: EndpointHandover | undefined;
  private state: ConnectivityState = 'IDLE';
  /** True if no connection has been requested since the channel became idle. */
  private isDormant = false;
  /** Selects the connection of each call; `undefined` before the first state. */
  picker: experimental.Picker | undefined;
  /** Wraps the pickers of the child policy; `undefined` if the pickers are used unchanged. */
  private wrapPicker: ((picker: experimental.Picker) => experimental.Picker) | undefined;
  /** Endpoint of each address; `undefined` if each endpoint has one address. */
  private endpointOf: ReadonlyMap<string, object> | undefined;
  private childState: ChildState | undefined;
  /** True if the child policy uses several connections. pick_first ignores the health of its only connection (gRFC A17). */
  private isBalancing = false;
  /** True if the picker follows the weights of a slow start. */
  private isWeighted = false;
  private removeFromEndpoints: (() => void) | undefined;
  /** True during an update that may change which endpoints are ejected. The state is published after the update. */
  private isHeld = false;

  constructor(private readonly helper: experimental.ChannelControlHelper) {
    this.child = new parts.ChildLoadBalancerHandler(
      parts.createChildChannelControlHelper(helper, {
        createSubchannel: (address, args) => this.createSubchannel(address, args),
        updateState: (state, picker, error) => {
          this.childState = { state, picker, error };
          if (!this.isHeld) this.publish(this.childState);
        },
      }),
    );
  }

  private report(event: PolicyEvent): void {
    this.owner?.dependencies.handle(event);
  }

  private publish({ state, picker, error }: ChildState): void {
    const endpoints = this.isBalancing ? this.owner?.dependencies.endpoints : undefined;
    this.isWeighted = false;
    if (stateName(state) === 'READY') {
      const { random } = this.owner?.dependencies ?? {};
      this.isWeighted = endpoints?.isSlowStarting === true;
      const weighted =
        this.isWeighted && endpoints !== undefined && random !== undefined
          ? new SlowStartPicker(picker, endpoints, random)
          : picker;
      this.picker = this.wrapPicker?.(weighted) ?? weighted;
    } else if (stateName(state) === 'TRANSIENT_FAILURE' && endpoints?.isHealthPending === true) {
      // Publishes CONNECTING, because a connection whose health is unknown counts as connecting (gRFC A17). The child policy publishes
      // TRANSIENT_FAILURE, because it distinguishes only healthy and unhealthy connections.
      this.picker = new parts.QueuePicker(this);
      this.forward(connectivityState.CONNECTING, this.picker, null);
      return;
    } else {
      this.picker = picker;
    }
    this.forward(state, this.picker, error);
  }

  private forward(state: connectivityState, picker: experimental.Picker, error: string | null): void {
    this.state = stateName(state);
    this.isDormant = this.state === 'IDLE';
    this.helper.updateState(state, picker, error);
    if (this.unresolved !== undefined && stateName(state) === 'TRANSIENT_FAILURE')
      this.report({ type: 'unresolved', details: this.unresolved });
    this.report({ type: 'state', state: stateName(state), error: error ?? undefined });
  }

  /**
   * Publishes the state of the child policy again if a slow start has begun or ended, or if CONNECTING was published because the health of
   * an endpoint was unknown.
   */
  refresh(): void {
    const { childState, owner } = this;
    if (childState === undefined || !this.isBalancing || this.isHeld) return;
    const isReady = stateName(childState.state) === 'READY';
    if (isReady ? this.isWeighted === owner?.dependencies.endpoints?.isSlowStarting : this.picker === childState.picker)
      return;
    this.publish(childState);
  }

  private createSubchannel(address: SubchannelAddress, args: ChannelOptions): SubchannelInterface {
    const { owner } = this;
    if (owner === undefined) return this.helper.createSubchannel(address, args);
    const key = addressKey(address);
    const { dependencies } = owner;
    const { maxConnectionsPerEndpoint: maximum, clock } = dependencies;
    const create = (number: number): CreatedConnection =>
      this.createConnection(owner, address, args, furtherAddress(key, number), undefined);
    const dropped = (): void => {
      this.connections.prune(key);
      dependencies.handle({ type: 'streams' });
    };
    const { spare } = this.connections;
    const connections = this.connections.to(
      key,
      () => new AddressConnections({ maximum, clock, create, dropped, spare }),
    );
    const first = this.createConnection(owner, address, args, key, connections);
    connections.first = first.connection;
    return first.subchannel;
  }

  private createConnection(
    owner: PolicyOwner,
    address: SubchannelAddress,
    args: ChannelOptions,
    key: string,
    connections: AddressConnections | undefined,
  ): CreatedConnection {
    const { handle, endpoints, subchannels } = owner.dependencies;
    // Only the first connection, which the child policy selects, determines the health of an endpoint.
    const isFirst = connections !== undefined;
    const subchannel = subchannels.get(key, address, args);
    let connection = this.known.get(subchannel);
    if (connection === undefined) {
      const onEvent = (event: PolicyEvent): void => {
        handle(event);
        if (event.type === 'connection') this.handover?.endpointChanged();
      };
      const watch = isFirst ? this.healthWatch(owner) : undefined;
      connection = new ObservedConnection(subchannel, onEvent, this.useChanged, watch, !isFirst);
      this.known.set(subchannel, connection);
    }
    const gate = isFirst && this.isBalancing ? endpoints : undefined;
    return { subchannel: new GatedSubchannel(subchannel, connection, gate, connections), connection };
  }

  /** Returns the function that watches the health of a connection; `undefined` if health is not checked, or is ignored (pick_first). */
  private healthWatch({ dependencies }: PolicyOwner): ((connection: ObservedConnection) => HealthWatch) | undefined {
    const { health, endpoints } = dependencies;
    if (health === undefined || endpoints?.checksHealth !== true || !this.isBalancing) return undefined;
    return (connection) =>
      new HealthWatch(
        (opening) => connection.openStream(opening),
        (reported) => {
          endpoints.healthChanged(connection.address, reported);
          this.handover?.endpointChanged();
        },
        health,
      );
  }

  private readonly useChanged = (connection: ObservedConnection): void => {
    if (connection.isUsed) this.connections.all.add(connection);
    else if (this.released === undefined) this.drop(connection);
    else this.released.add(connection);
  };

  private drop(connection: ObservedConnection): void {
    this.connections.delete(connection);
    connection.stop();
  }

  /** Runs `change`, then drops the connections that it released and did not use again, unless the next update may use them. */
  private updating<T>(change: () => T, dropsReleased = true): T {
    const released = (this.released ??= new Set());
    try {
      return change();
    } finally {
      if (dropsReleased) {
        this.released = undefined;
        for (const connection of released) if (!connection.isUsed) this.drop(connection);
      }
    }
  }

  updateAddressList(...[endpoints, config, options, note]: AddressUpdate): boolean {
    const owner: unknown = options[OWNER_OPTION];
    // Rejects the service config of another channel that names this policy.
    if (!(config instanceof ObservingPolicyConfig) || !(owner instanceof PolicyOwner)) return false;
    // Ignores the update if the channel was closed during the lookup, because the child policy would connect to the resolved addresses.
    if (owner.dependencies.subchannels.isClosed) return true;
    if (owner.id !== config.id) return false;
    owner.control ??= this;
    // Another policy already reports to the owner.
    if (owner.control !== this) return false;
    this.owner = owner;
    const { clock, handle, refresh, endpoints: health } = owner.dependencies;
    this.isBalancing = config.child.getLoadBalancerName() !== 'pick_first';
    this.removeFromEndpoints ??= health?.join(this);
    const ok = hasAddresses(endpoints);
    handle({ type: 'lookup-ended', ok, isError: !endpoints.ok });
    refresh?.lookupEnded(ok, this.lookUp);
    this.updates ??= this.createUpdates(clock, handle);
    return this.updates.take(endpoints, config.child, options, note);
  }

  private createUpdates(clock: Clock, handle: PolicyDependencies['handle']): AddressUpdates {
    const isUsable = (endpoint: EndpointList[number]): boolean => {
      const keys = endpointKeys(endpoint);
      const health = this.owner?.dependencies.endpoints;
      // Ejections are ignored, because ejected endpoints are used again if too few others are usable.
      const isServing = (address: string): boolean => health?.isServingAt(address) !== false;
      return [...this.connections.all].some(
        ({ isReady, address }) => isReady && keys.includes(address) && isServing(address),
      );
    };
    const handover = new EndpointHandover(clock, isUsable, this.update);
    this.handover = handover;
    const apply = (...update: AddressUpdate): boolean => {
      const [endpoints] = update;
      const accepted = handover.take(...update);
      if (endpoints.ok) handle({ type: 'addresses', addresses: endpoints.value.flatMap(endpointKeys) });
      return accepted;
    };
    const limited = (reported: number, used: number): void => handle({ type: 'addresses-limited', reported, used });
    return new AddressUpdates(clock, apply, limited, () => this.isDormant);
  }

  /** Requests a lookup; returns false for an idle channel, because the lookup would make grpc-js connect to the resolved addresses. */
  private readonly lookUp = (): boolean => {
    if (this.state === 'IDLE') return false;
    this.helper.requestReresolution();
    return true;
  };

  private readonly update = (...update: AddressUpdate): boolean => {
    const [endpoints, child, , note] = update;
    if (endpoints.ok) {
      this.prepare(endpoints.value, child.getLoadBalancerName());
      if (this.isBalancing) this.owner?.dependencies.endpoints?.group(endpoints.value.map(endpointKeys));
    }
    // After an error, the child policy keeps the previous addresses. Without any address, it reports a failure that no connection caused.
    if (!endpoints.ok) this.unresolved = endpoints.error.details;
    else if (endpoints.value.length === 0) this.unresolved = note;
    const health = this.isBalancing ? this.owner?.dependencies.endpoints : undefined;
    this.isHeld = health !== undefined;
    const before = this.childState;
    const mayReuse = endpoints.ok ? endpoints.value.length === 0 : this.released !== undefined;
    try {
      return this.updating(() => this.child.updateAddressList(...update), !mayReuse);
    } finally {
      // The child policy has reported no failure, because it uses the previous addresses.
      if (this.childState === before) this.unresolved = undefined;
      // Ejected endpoints must be used again if the update removed the usable ones.
      health?.addressesChanged();
      this.isHeld = false;
      if (health !== undefined && this.childState !== undefined) this.publish(this.childState);
      this.unresolved = undefined;
    }
  };

  private prepare(endpoints: readonly experimental.Endpoint[], child: string): void {
    const { owner } = this;
    const isGrouped = endpoints.some(({ addresses }) => addresses.length > 1);
    this.endpointOf = isGrouped
      ? new Map(endpoints.flatMap((one) => one.addresses.map((address) => [addressKey(address), one])))
      : undefined;
    // pick_first has one connection, so there is no other endpoint to select.
    const selects = owner !== undefined && endpoints.length > 1 && child !== 'pick_first';
    const reads = child === 'weighted_round_robin';
    this.wrapPicker =
      selects || reads
        ? (picker) => {
            const reading = reads ? withDecodedReports(picker) : picker;
            return selects ? new EndpointPicker(reading, this, owner.dependencies.random) : reading;
          }
        : undefined;
  }

  isTried(address: string, tried: readonly string[]): boolean {
    if (tried.includes(address)) return true;
    const endpoint = this.endpointOf?.get(address);
    return endpoint !== undefined && tried.some((one) => this.endpointOf?.get(one) === endpoint);
  }

  pickable(): SubchannelInterface[] {
    // A further connection belongs to the endpoint of the first one.
    return [...this.connections.all].flatMap(({ isFurther, pickable }) => (isFurther ? [] : (pickable ?? [])));
  }

  exitIdle(): void {
    if (this.isDormant) this.updates?.resume();
    this.isDormant = false;
    this.child.exitIdle();
  }

  /** Makes the policy idle: releases all connections, so that those without calls close. A later pick uses the latest addresses again. */
  enterIdle(): void {
    if (this.isDormant) return;
    this.updates?.released();
    this.handover?.stop();
    this.releaseConnections();
    this.childState = undefined;
    this.picker = new parts.QueuePicker(this);
    this.forward(connectivityState.IDLE, this.picker, null);
  }

  private releaseConnections(): void {
    this.updating(() => {
      this.child.destroy();
      this.connections.releaseFurther();
    });
  }

  resetBackoff(): void {
    this.child.resetBackoff();
  }

  destroy(): void {
    this.removeFromEndpoints?.();
    this.removeFromEndpoints = undefined;
    this.updates?.stop();
    this.updates = undefined;
    this.handover?.stop();
    this.owner?.dependencies.refresh?.stop();
    this.releaseConnections();
    const { owner } = this;
    this.owner = undefined;
    if (owner?.control === this) owner.control = undefined;
    owner?.dependencies.handle({ type: 'destroyed' });
  }

  getTypeName(): string {
    return policyName;
  }
}
