import { experimental } from '@grpc/grpc-js';
import { RoundRobinLoadBalancer } from '@grpc/grpc-js/build/src/load-balancer-round-robin.js';
import { LOADS_OPTION, leastRequestPolicy } from '../internals.mjs';

/** @typedef {import('./client.mjs').EndpointClient} EndpointClient */
/** @typedef {import('./replica.mjs').Replica} Replica */

const READY = 2;
const TRANSIENT_FAILURE = 3;

/** Replaces grpc-js's leaf policy: simulates one connection to a replica. `Endpoints` ejects the replica through `include`. */
export class SimulatedLeaf {
  #owner;
  isIncluded = true;
  isReady = false;

  /**
   * @param {{ readonly replica: Replica }} endpoint
   * @param {{ updateState: (state: number, picker: unknown, error: string | null) => void }} helper
   * @param {{ readonly client: EndpointClient }} options
   */
  constructor(endpoint, helper, { client }) {
    this.endpoint = endpoint;
    this.helper = helper;
    this.#owner = client;
  }

  get replica() {
    return this.endpoint.replica;
  }

  get address() {
    return this.replica.address;
  }

  /** Called by `Endpoints`: puts the leaf into the pick set, or takes it out. @param {boolean} isIncluded */
  include(isIncluded) {
    if (this.isIncluded === isIncluded) return;
    this.isIncluded = isIncluded;
    if (!isIncluded) this.#owner.leafEjected();
    this.changed();
  }

  changed() {
    this.helper.updateState(this.getConnectivityState(), undefined, null);
  }

  startConnecting() {
    this.#owner.leafConnecting(this);
  }

  getConnectivityState() {
    return this.isReady && this.isIncluded ? READY : TRANSIENT_FAILURE;
  }

  getPicker() {
    return this;
  }

  getEndpoint() {
    return this.endpoint;
  }

  pick() {
    return this.replica.pick;
  }

  updateEndpoint() {
    // The leaf keeps its connection.
  }

  exitIdle() {
    // A leaf is never idle.
  }

  destroy() {
    this.#owner.leafDestroyed(this);
  }
}

/** grpc-js's round_robin with simulated connections. Replaces only its `updateAddressList`, which creates the connections. */
export class RoundRobin {
  #policy;

  /** @param {EndpointClient} client */
  constructor(client) {
    this.client = client;
    this.#policy = new RoundRobinLoadBalancer(helperOf(client));
  }

  /** @param {readonly Replica[]} replicas */
  update(replicas) {
    const policy = this.#policy;
    // Rotates the addresses at random, as grpc-js does.
    const start = Math.floor(this.client.random() * replicas.length);
    const rotated = [...replicas.slice(start), ...replicas.slice(0, start)];
    policy.resetSubchannelList();
    policy.updatesPaused = true;
    policy.children = rotated.map(
      ({ endpoint }) => new SimulatedLeaf(endpoint, policy.childChannelControlHelper, this),
    );
    for (const child of policy.children) child.startConnecting();
    policy.updatesPaused = false;
    policy.calculateAndUpdateState();
  }
}

const POLICY_NAME = 'simulated_least_request';
const [LeastRequestPolicy, LeastRequestConfig] = leastRequestPolicy(POLICY_NAME, {
  ...experimental,
  LeafLoadBalancer: SimulatedLeaf,
});

/** The library's least_request with simulated connections. */
export class LeastRequest {
  #policy;
  #options;

  /** @param {EndpointClient} client */
  constructor(client) {
    this.#policy = new LeastRequestPolicy(helperOf(client));
    this.#options = { client, [LOADS_OPTION]: client.loads };
  }

  /** @param {readonly Replica[]} replicas */
  update(replicas) {
    const value = replicas.map(({ endpoint }) => endpoint);
    this.#policy.updateAddressList({ ok: true, value }, LeastRequestConfig.createFromJson({}), this.#options, '');
  }
}

/**
 * The helper of a balancing policy.
 *
 * @param {EndpointClient} client
 */
function helperOf(client) {
  return {
    updateState: (_state, picker) => {
      client.pickerChanged(picker);
    },
    createSubchannel: doNothing,
    requestReresolution: doNothing,
    addChannelzChild: doNothing,
    removeChannelzChild: doNothing,
  };
}

function doNothing() {
  // Not needed, because the leaf policies are simulated, and the fleet reports every address change.
}
