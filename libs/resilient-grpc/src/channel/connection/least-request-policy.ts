import { connectivityState, type ChannelOptions, type experimental } from '@grpc/grpc-js';
import { type EndpointLoad, chooseLeastLoaded, parseChoiceCount } from '../../policy/balancing/least-request.js';
import { COMPLETE, type Experimental } from '../quirks/experimental.js';
import { endpointKeys } from './address-key.js';
import type { AddressUpdate } from './address-updates.js';
import { EndpointLoads } from './endpoint-loads.js';
import { isUnary, triedEndpoints } from './endpoint-picker.js';

type ChannelControlHelper = experimental.ChannelControlHelper;
type Picker = experimental.Picker;
type LoadBalancerClass = Parameters<typeof experimental.registerLoadBalancerType>[1];
type ConfigClass = Parameters<typeof experimental.registerLoadBalancerType>[2];

/** Channel option that holds the channel's `EndpointLoads`. grpc-js does not copy options with this prefix to subchannels. */
export const LOADS_OPTION = 'grpc.internal.no_subchannel.nestjs_resilient_grpc_loads';

const { CONNECTING, IDLE, READY, TRANSIENT_FAILURE } = connectivityState;

/** One endpoint: its leaf policy connects to one of its addresses. */
interface Child {
  readonly leaf: experimental.LeafLoadBalancer;
  readonly addresses: readonly string[];
  readonly load: EndpointLoad;
}

/**
 * Creates the policy `least_request` and its config, for registration under `name`. The policy connects to every endpoint, like
 * round_robin, and selects the least loaded of `choiceCount` random READY endpoints.
 */
export function leastRequestPolicy(name: string, parts: Experimental): [LoadBalancerClass, ConfigClass] {
  class LeastRequestConfig implements experimental.TypedLoadBalancingConfig {
    constructor(readonly choiceCount: number) {}

    getLoadBalancerName(): string {
      return name;
    }

    toJsonObject(): object {
      return { [name]: { choiceCount: this.choiceCount } };
    }

    static createFromJson(json: unknown): LeastRequestConfig {
      return new LeastRequestConfig(parseChoiceCount(json));
    }
  }

  class LeastRequestPolicy implements experimental.LoadBalancer {
    private children: readonly Child[] = [];
    private choiceCount = 0;
    private loads: EndpointLoads | undefined;
    private isUpdating = false;
    private state = IDLE;
    private lastError: string | null = null;
    private readonly childHelper: ChannelControlHelper;

    constructor(private readonly helper: ChannelControlHelper) {
      this.childHelper = parts.createChildChannelControlHelper(helper, {
        updateState: (state, _, error) => {
          // A lost connection may mean that the addresses have changed.
          if (this.state === READY && state !== READY) helper.requestReresolution();
          if (error !== null) this.lastError = error;
          this.report();
        },
      });
    }

    updateAddressList(...[endpoints, config, options, note]: AddressUpdate): boolean {
      if (!(config instanceof LeastRequestConfig)) return false;
      const loads: unknown = options[LOADS_OPTION];
      if (!(loads instanceof EndpointLoads)) return false;
      this.choiceCount = config.choiceCount;
      this.loads = loads;
      if (!endpoints.ok) {
        if (this.children.length === 0) this.fail(endpoints.error.details);
        return true;
      }
      this.isUpdating = true;
      try {
        this.use(endpoints.value, options, note, loads);
      } finally {
        this.isUpdating = false;
      }
      if (this.children.length > 0) this.report();
      else this.fail(`No addresses resolved. Resolution note: ${note}`);
      return this.children.length > 0;
    }

    /** Connects to new endpoints, keeps those that are reported again, and drops the others. */
    private use(
      endpoints: readonly experimental.Endpoint[],
      options: ChannelOptions,
      note: string,
      loads: EndpointLoads,
    ): void {
      const former = new Map(this.children.map((child) => [child.addresses.join(), child]));
      const children = new Map<string, Child>();
      for (const endpoint of endpoints) {
        const addresses = endpointKeys(endpoint);
        const key = addresses.join();
        // An endpoint that is reported twice is used once.
        if (children.has(key)) continue;
        let child = former.get(key);
        former.delete(key);
        if (child === undefined) {
          const leaf = new parts.LeafLoadBalancer(endpoint, this.childHelper, options, note);
          child = { leaf, addresses, load: loads.of(addresses) };
          leaf.startConnecting();
        } else {
          child.leaf.updateEndpoint(endpoint, options);
        }
        children.set(key, child);
      }
      this.children = [...children.values()];
      for (const { leaf } of former.values()) leaf.destroy();
      loads.keep(new Set(this.children.flatMap(({ addresses }) => addresses)));
    }

    /** Reports READY, CONNECTING, TRANSIENT_FAILURE, or IDLE: the first of these states that an endpoint is in. */
    private report(): void {
      const { children, loads } = this;
      if (this.isUpdating || loads === undefined) return;
      const inState = (state: connectivityState): readonly Child[] =>
        children.filter(({ leaf }) => leaf.getConnectivityState() === state);
      const ready = inState(READY);
      if (ready.length > 0) {
        this.enter(READY, new LeastRequestPicker(ready, this.choiceCount, loads), null);
      } else if (inState(CONNECTING).length > 0) {
        this.enter(CONNECTING, new parts.QueuePicker(this), null);
      } else if (inState(TRANSIENT_FAILURE).length > 0) {
        this.fail(`least_request: No connection established. Last error: ${String(this.lastError)}`);
      } else {
        this.enter(IDLE, new parts.QueuePicker(this), null);
      }
      // Reconnects idle endpoints, because every endpoint must stay connected.
      for (const { leaf } of inState(IDLE)) leaf.exitIdle();
    }

    private fail(details: string): void {
      this.enter(TRANSIENT_FAILURE, new parts.UnavailablePicker({ details }), details);
    }

    private enter(state: connectivityState, picker: Picker, error: string | null): void {
      this.state = state;
      this.helper.updateState(state, picker, error);
    }

    exitIdle(): void {
      for (const { leaf } of this.children) leaf.exitIdle();
    }

    resetBackoff(): void {
      // Each connection has its own backoff; the policy has none.
    }

    destroy(): void {
      for (const { leaf } of this.children) leaf.destroy();
      this.children = [];
    }

    getTypeName(): string {
      return name;
    }
  }

  return [LeastRequestPolicy, LeastRequestConfig];
}

/**
 * Selects the least loaded of `choiceCount` random endpoints, and counts the running attempts of each endpoint. Endpoints that the call has
 * already tried are selected only if no other endpoint is READY.
 */
class LeastRequestPicker implements Picker {
  private readonly all: readonly EndpointLoad[];

  constructor(
    private readonly children: readonly Child[],
    private readonly choiceCount: number,
    private readonly loads: EndpointLoads,
  ) {
    this.all = children.map(({ load }) => load);
  }

  pick(args: experimental.PickArgs): experimental.PickResult {
    const { leaf, load } = this.choose(triedEndpoints(args));
    const pick = leaf.getPicker().pick(args);
    if ((pick.pickResultType as number) !== COMPLETE) return pick;
    const { clock } = this.loads;
    const unary = isUnary(args);
    return {
      ...pick,
      onCallStarted: () => {
        load.started(clock.now(), unary);
        pick.onCallStarted?.();
      },
      onCallEnded: (...end) => {
        load.ended(clock.now(), unary);
        pick.onCallEnded?.(...end);
      },
    };
  }

  private choose(tried: readonly string[] | undefined): Child {
    const { children, choiceCount, loads } = this;
    const untried =
      tried === undefined
        ? children
        : children.filter(({ addresses }) => !addresses.some((address) => tried.includes(address)));
    const candidates = untried.length > 0 ? untried : children;
    const candidateLoads = candidates === children ? this.all : candidates.map(({ load }) => load);
    const index = chooseLeastLoaded(candidateLoads, choiceCount, loads.random, loads.clock.now());
    // Safe: the index is valid, because a picker has at least one READY endpoint.
    return candidates[index] as Child;
  }
}
