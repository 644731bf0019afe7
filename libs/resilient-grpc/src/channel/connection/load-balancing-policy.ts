import { randomUUID } from 'node:crypto';
import { connectivityState, type ChannelOptions, type experimental } from '@grpc/grpc-js';
import { AddressUpdates, type AddressUpdate } from './address-updates.js';
import type { AddressHistories } from './address-histories.js';
import type { ConnectAttempts } from './connect-attempts.js';
import type { LivenessProbe } from './liveness-probe.js';
import type { ConnectionStream, StreamOpening } from './connection-stream.js';
import { gatedSubchannelClass } from './gated-subchannel.js';
import { ObservedConnection } from './observed-connection.js';
import type { PolicyEvent } from './policy-event.js';
import { ADDRESS_ARGUMENT } from '../quirks/connector.js';
import { policyParts, type PolicyParts } from '../quirks/experimental.js';
import type { SeamReport } from '../quirks/seam.js';
import { realSubchannel } from '../quirks/subchannel.js';
import { stateName } from '../state-name.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';

type ChannelControlHelper = experimental.ChannelControlHelper;
type LoadBalancer = experimental.LoadBalancer;
type TypedLoadBalancingConfig = experimental.TypedLoadBalancingConfig;
type SubchannelInterface = experimental.SubchannelInterface;
type SubchannelAddress = experimental.SubchannelAddress;

/** Name that the first copy of this library in a process registers the policy with. Further copies add a number. */
const POLICY_NAME = 'nestjs_resilient_grpc';
/**
 * Channel option that holds the channel's `PolicyOwner`. Service configs are JSON and cannot hold one, so no service config can make a
 * policy report to another channel. grpc-js does not copy options with this prefix to subchannels.
 */
const OWNER_OPTION = 'grpc.internal.no_subchannel.nestjs_resilient_grpc';

/** Parts of the channel that its policy uses. */
export interface PolicyDependencies {
  readonly clock: Clock;
  readonly attempts: Pick<ConnectAttempts, 'abortable'>;
  readonly histories: Pick<AddressHistories, 'holdOffMs' | 'afterHoldOff'>;
  readonly seams: Pick<SeamReport, 'check'>;
  readonly handle: (event: PolicyEvent) => void;
}

/** Owner of the policy of one channel: installs it with channel options, and gives access to it. */
export class PolicyOwner {
  /** Random, so that an external service config cannot contain it. */
  readonly id = randomUUID();
  /** Reason why no policy is active, if an external service config names it. */
  refusal: string | undefined;
  /** True if the channel is closed. */
  isReleased = false;
  /** The policy; `undefined` until grpc-js has created it, and while the channel is idle. */
  control: ObservingPolicy | undefined;

  constructor(
    private readonly children: readonly Readonly<Record<string, unknown>>[],
    readonly dependencies: PolicyDependencies,
  ) {}

  /** Value for `loadBalancingConfig` in the channel option `grpc.service_config`. */
  get loadBalancingConfig(): readonly Readonly<Record<string, unknown>>[] {
    return [{ [policyName]: { id: this.id, child: this.children } }];
  }

  /** The other channel options that the policy needs. */
  get channelOptions(): ChannelOptions {
    return { [OWNER_OPTION]: this };
  }

  /** Hides the fields: grpc-js writes channel options as JSON when it traces. */
  toJSON(): object {
    return {};
  }

  /** Makes `policy` report to this owner. Returns false if another policy does already. */
  claim(policy: ObservingPolicy): boolean {
    this.control ??= policy;
    this.refusal = undefined;
    return this.control === policy;
  }

  refuse(reason: string): void {
    if (this.control === undefined) this.refusal = reason;
  }

  yield(policy: ObservingPolicy): void {
    if (this.control === policy) this.control = undefined;
  }

  release(): void {
    this.isReleased = true;
  }
}

/** Owner of a policy, created by this copy of the library or by another copy in the process. */
type RefusableOwner = Pick<PolicyOwner, 'refuse'>;

function isRefusable(value: unknown): value is RefusableOwner {
  return typeof (value as Partial<RefusableOwner> | undefined)?.refuse === 'function';
}

/** Name under which this copy registered the policy; empty until then. */
let policyName = '';
/** Set at registration. */
let parts: PolicyParts;
let GatedSubchannel: ReturnType<typeof gatedSubchannelClass>;

/**
 * Wraps the configured child policies in one that reports to the channel. Returns `undefined` if this grpc-js lacks the private names.
 *
 * grpc-js's public channel exposes too little (42 attempts to connect appeared as two state changes) and cannot end a backoff. A
 * load-balancing policy observes each connection and passes on every call unchanged.
 */
export function observeConnections(
  children: readonly Readonly<Record<string, unknown>>[],
  dependencies: PolicyDependencies,
): PolicyOwner | undefined {
  return register() ? new PolicyOwner(children, dependencies) : undefined;
}

/** True if `name` is this library's own policy. Only the library may use it. */
export function isObservingPolicy(name: string): boolean {
  return name.startsWith(POLICY_NAME);
}

/** Registers the policy with grpc-js once. Not at import, which must have no side effects. */
function register(): boolean {
  if (policyName !== '') return true;
  const found = policyParts();
  if (found === undefined) return false;
  parts = found;
  GatedSubchannel = gatedSubchannelClass(parts.BaseSubchannelWrapper);
  // Copies of this library may share one grpc-js, where registering a name again replaces the earlier policy.
  policyName = POLICY_NAME;
  for (let copy = 2; parts.isLoadBalancerNameRegistered(policyName); copy++)
    policyName = `${POLICY_NAME}_${String(copy)}`;
  parts.registerLoadBalancerType(policyName, ObservingPolicy, ObservingPolicyConfig);
  return true;
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

  /** @throws Error if no child policy is known. grpc-js then reports the whole config as invalid. */
  static createFromJson(json: { readonly id: unknown; readonly child: object[] }): ObservingPolicyConfig {
    // Safe: a service config contains an array of objects with one key each.
    const child = parts.selectLbConfigFromList(json.child as Parameters<PolicyParts['selectLbConfigFromList']>[0]);
    if (child === null) throw new Error(`no supported load-balancing policy in ${JSON.stringify(json.child)}`);
    return new ObservingPolicyConfig(String(json.id), child);
  }
}

/** Forwards everything between the channel and the child policy, and reports to the channel. */
class ObservingPolicy implements LoadBalancer {
  private readonly child: experimental.ChildLoadBalancerHandler;
  private owner: PolicyOwner | undefined;
  /** All connections, keyed by grpc-js's subchannel. */
  private readonly known = new WeakMap<object, ObservedConnection>();
  /** Connections that the child policy uses. */
  private readonly connections = new Set<ObservedConnection>();
  /** Connections released during an update, which may use them again: round_robin recreates its children. */
  private released: Set<ObservedConnection> | undefined;
  /** The resolver's reason, while the child policy receives an update without addresses. */
  private unresolved: string | undefined;
  private updates: AddressUpdates | undefined;
  /** Selects the connection of each call; `undefined` before the first state. */
  picker: experimental.Picker | undefined;

  constructor(private readonly helper: ChannelControlHelper) {
    this.child = new parts.ChildLoadBalancerHandler(
      parts.createChildChannelControlHelper(helper, {
        createSubchannel: (address, args) => this.createSubchannel(address, args),
        updateState: (state, picker, error) => {
          this.picker = picker;
          helper.updateState(state, picker, error);
          if (this.unresolved !== undefined && stateName(state) === 'TRANSIENT_FAILURE')
            this.report({ type: 'unresolved', details: this.unresolved });
          this.report({ type: 'state', state: stateName(state), error: error ?? undefined });
        },
      }),
    );
  }

  private report(event: PolicyEvent): void {
    this.owner?.dependencies.handle(event);
  }

  private createSubchannel(address: SubchannelAddress, args: ChannelOptions): SubchannelInterface {
    const { owner } = this;
    if (owner === undefined) return this.helper.createSubchannel(address, args);
    const { attempts, histories, seams, handle } = owner.dependencies;
    const key = addressKey(address);
    const subchannel = this.helper.createSubchannel(attempts.abortable(address, key), {
      ...args,
      [ADDRESS_ARGUMENT]: key,
    });
    const real = realSubchannel(subchannel);
    let connection = this.known.get(real);
    if (connection === undefined) {
      connection = new ObservedConnection(subchannel, handle, seams, this.useChanged);
      this.known.set(real, connection);
    }
    return new GatedSubchannel(subchannel, connection, histories);
  }

  private readonly useChanged = (connection: ObservedConnection): void => {
    if (connection.isUsed) this.connections.add(connection);
    else if (this.released === undefined) this.leave(connection);
    else this.released.add(connection);
  };

  private leave(connection: ObservedConnection): void {
    this.connections.delete(connection);
    connection.stop();
  }

  /** Runs `change`, then stops observing the connections that it released and did not use again. */
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
    // The channel is closed, and this is the result of a resolution that was still running. The child policy would connect.
    if (owner.isReleased) return true;
    if (owner.id !== config.id || !owner.claim(this)) return this.refuse(owner);
    this.owner = owner;
    const { clock, handle } = owner.dependencies;
    this.updates ??= new AddressUpdates(clock, this.update, (reported, used) => {
      handle({ type: 'addresses-limited', reported, used });
    });
    return this.updates.take(endpoints, config.child, options, note);
  }

  private readonly update = (...update: AddressUpdate): boolean => {
    const [endpoints, , , note] = update;
    // After an error, the child policy keeps the previous addresses. If there are none, it reports a failure that no connection caused.
    if (!endpoints.ok) this.unresolved = endpoints.error.details;
    else if (endpoints.value.length === 0) this.unresolved = note;
    try {
      return this.updating(() => this.child.updateAddressList(...update));
    } finally {
      this.unresolved = undefined;
    }
  };

  /**
   * Rejects an external service config that names the policy. An active policy stays; a channel without one fails its calls. No other
   * channel is affected.
   */
  private refuse(owner: RefusableOwner | undefined): boolean {
    if (this.owner !== undefined) return false;
    const details = `load-balancing policy ${policyName} is internal to nestjs-resilient-grpc; remove it from the service config`;
    const picker = new parts.UnavailablePicker({ code: StatusCode.UNAVAILABLE, details });
    owner?.refuse(details);
    this.helper.updateState(connectivityState.TRANSIENT_FAILURE, picker, details);
    // The update counts as accepted, because grpc-js would otherwise queue the calls until their deadlines.
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
    owner?.dependencies.handle({ type: 'destroyed' });
  }

  getTypeName(): string {
    return policyName;
  }

  /** Ends the backoff of every connection that is in one. These connections are retried immediately. */
  endBackoff(): void {
    for (const connection of this.connections) connection.endBackoff();
  }

  /** End of the earliest backoff, in milliseconds since 1970; `undefined` if no connection is in backoff. */
  backoffEndsAt(): number | undefined {
    let earliest: number | undefined;
    for (const connection of this.connections) {
      const at = connection.backoffEndsAt();
      if (at !== undefined && (earliest === undefined || at < earliest)) earliest = at;
    }
    return earliest;
  }

  /** Creates a probe of the connection to `address`; `undefined` if it is not READY, or if this grpc-js cannot probe connections. */
  probe(address: string): LivenessProbe | undefined {
    for (const connection of this.connections) {
      const probe = connection.address === address ? connection.probe() : undefined;
      if (probe !== undefined) return probe;
    }
    return undefined;
  }

  /** Opens a stream on one READY connection; `undefined` if there is none, or if this grpc-js cannot bind a call to one. */
  openStream(opening: StreamOpening): ConnectionStream | undefined {
    for (const connection of this.connections) {
      const stream = connection.openStream(opening);
      if (stream !== undefined) return stream;
    }
    return undefined;
  }
}

/** Formats an address like grpc-js's `getPeer()`. */
function addressKey(address: SubchannelAddress): string {
  if (!('port' in address)) return address.path;
  return address.host.includes(':')
    ? `[${address.host}]:${String(address.port)}`
    : `${address.host}:${String(address.port)}`;
}
