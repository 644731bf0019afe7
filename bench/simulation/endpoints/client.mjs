import {
  EndpointLoads,
  EndpointPicker,
  Endpoints,
  SlowStartPicker,
  classify,
  measuredOutcome,
  pickInfo,
} from '../internals.mjs';
import { NO_METADATA, Retries } from '../retries.mjs';

/** @typedef {import('./fleet.mjs').EndpointFleet} EndpointFleet */
/** @typedef {import('./policies.mjs').EndpointPolicy} EndpointPolicy */
/** @typedef {import('./balancing.mjs').SimulatedLeaf} SimulatedLeaf */
/** @typedef {import('./replica.mjs').Replica} Replica */

const CONNECT_MS = 2;

/** An attempt, as `Endpoints` and `classify` receive it. */
class Attempt {
  code = 0;
  details = '';
  picked = true;
  channelReady = true;
  /** @type {'no' | 'deadline' | 'attempt-timeout'} */
  endedHere = 'no';
  headersReceived = false;
  messagesReceived = 0;
  /** @type {string | undefined} */
  contentType = undefined;
  measuresLatency = true;

  /**
   * @param {Call} call
   * @param {Replica} replica
   * @param {number} startedAt
   */
  constructor(call, replica, startedAt) {
    this.call = call;
    this.replica = replica;
    this.peer = replica.address;
    this.startedAt = startedAt;
    /** @type {{ onCallEnded: (() => void) | null } | undefined} */
    this.pick = undefined;
  }
}

/** A unary call. */
class Call {
  attempts = 0;
  /** @type {string[] | undefined} Addresses that the call has tried. */
  tried;

  /**
   * @param {EndpointClient} client
   * @param {number} startedAt
   */
  constructor(client, startedAt) {
    this.client = client;
    this.startedAt = startedAt;
  }
}

/**
 * A client with several endpoints: the library's ejection, slow start, balancing, retries, and budget. This class adds only the steps that
 * connect them, as in channel/connection/load-balancing-policy.ts, channel/wire/wire-attempt.ts, and client/calls/client-call.ts.
 */
export class EndpointClient {
  #endpoints;
  #balancing;
  #childPicker;
  #picker;
  #isWeighted = false;
  #retries;
  /** Current leaves, by address, including ejected ones. @type {Map<string, SimulatedLeaf>} */
  #leaves = new Map();
  /** Addresses with a connection. @type {Set<string>} */
  #connected = new Set();

  /**
   * @param {EndpointFleet} fleet
   * @param {EndpointPolicy} policy
   */
  constructor(fleet, policy) {
    const { clock, random } = fleet;
    this.fleet = fleet;
    this.random = random;
    if (policy.ejection !== undefined) {
      this.#endpoints = new Endpoints(policy.ejection, undefined, clock, random, fleet.events);
      this.#endpoints.join(this);
    }
    this.loads = policy.usesLoads ? new EndpointLoads(clock, random) : undefined;
    this.#retries = new Retries(fleet);
    this.#balancing = policy.balance(this);
  }

  // ── connections ──

  /** @param {readonly Replica[]} replicas */
  resolve(replicas) {
    this.#balancing.update(replicas);
    this.#endpoints?.addressesChanged();
  }

  /** Connects a leaf, or reuses the connection to its address. @param {SimulatedLeaf} leaf */
  leafConnecting(leaf) {
    const { address } = leaf;
    this.#leaves.set(address, leaf);
    leaf.isReady = this.#connected.has(address);
    this.#endpoints?.use(leaf);
    if (leaf.isReady) this.#endpoints?.connectionChanged(address, true);
    else if (this.fleet.clock.time === 0) this.#connect(address);
    else this.fleet.clock.setTimer(() => this.#connect(address), CONNECT_MS);
  }

  /** @param {string} address */
  #connect(address) {
    this.#connected.add(address);
    const leaf = this.#leaves.get(address);
    if (leaf === undefined || leaf.isReady) return;
    leaf.isReady = true;
    this.#endpoints?.connectionChanged(address, true);
    leaf.changed();
  }

  /** @param {SimulatedLeaf} leaf */
  leafDestroyed(leaf) {
    if (this.#leaves.get(leaf.address) === leaf) this.#leaves.delete(leaf.address);
    leaf.isReady = false;
    this.#endpoints?.release(leaf);
  }

  /** Records the number of leaves in use after a leaf was ejected. */
  leafEjected() {
    let count = 0;
    for (const { isIncluded } of this.#leaves.values()) if (isIncluded) count += 1;
    this.fleet.meter.excluded(count);
  }

  // ── picks ──

  /** Publishes a new picker of the balancing policy. */
  pickerChanged(picker) {
    this.#childPicker = picker;
    this.#publish();
  }

  /** Called by `Endpoints`. Publishes a new picker if a slow start has begun or ended. */
  refresh() {
    if (this.#isWeighted !== this.#endpoints?.isSlowStarting) this.#publish();
  }

  #publish() {
    const endpoints = this.#endpoints;
    this.#isWeighted = endpoints?.isSlowStarting === true;
    const child = this.#childPicker;
    const weighted = this.#isWeighted ? new SlowStartPicker(child, endpoints, this.random) : child;
    this.#picker = new EndpointPicker(weighted, this, this.random);
  }

  isTried(address, tried) {
    return tried.includes(address);
  }

  pickable() {
    return [...this.#leaves.values()]
      .filter((leaf) => leaf.getConnectivityState() === 2)
      .map((leaf) => leaf.pick().subchannel);
  }

  // ── calls ──

  call() {
    this.attempt(new Call(this, this.fleet.clock.time));
  }

  /** Starts the next attempt of a call. @param {Call} call */
  attempt(call) {
    const { clock } = this.fleet;
    const pick = this.#picker.pick({ metadata: NO_METADATA, extraPickInfo: pickInfo(call.tried) });
    const attempt = new Attempt(call, this.fleet.replicaAt(pick.subchannel.getAddress()), clock.time);
    call.attempts += 1;
    if (pick.onCallStarted !== null) {
      pick.onCallStarted();
      attempt.pick = pick;
    }
    this.#endpoints?.started(attempt);
    this.fleet.send(attempt);
  }

  /** @param {Attempt} attempt */
  succeeded(attempt) {
    const { fleet } = this;
    attempt.headersReceived = true;
    attempt.messagesReceived = 1;
    attempt.contentType = 'application/grpc';
    this.#endpoints?.answered(attempt);
    this.#ended(attempt);
    this.#retries.budget.onSuccess(fleet.clock.time);
    fleet.meter.called(attempt.call.startedAt, fleet.clock.time, true);
  }

  /** Ends an attempt for which the replica returned UNAVAILABLE, and retries the call if permitted. @param {Attempt} attempt */
  refused(attempt) {
    attempt.code = 14;
    attempt.contentType = 'application/grpc';
    this.#retry(attempt, this.#ended(attempt));
  }

  /** @param {Attempt} attempt */
  timedOut(attempt) {
    attempt.code = 4;
    attempt.endedHere = 'attempt-timeout';
    this.#retry(attempt, this.#ended(attempt));
  }

  /** Ends an attempt during which the deadline of its call passed. The call fails. @param {Attempt} attempt */
  deadlinePassed(attempt) {
    attempt.code = 4;
    attempt.endedHere = 'deadline';
    this.#ended(attempt);
    this.#retries.budget.onDeadline(this.fleet.clock.time, attempt.startedAt);
    this.#failed(attempt.call);
  }

  /** @param {Attempt} attempt */
  #ended(attempt) {
    this.#endpoints?.ended(attempt);
    attempt.pick?.onCallEnded?.();
    const verdict = attempt.code === 0 && this.loads === undefined ? undefined : classify(attempt);
    const outcome = this.loads === undefined || verdict === undefined ? undefined : measuredOutcome(verdict);
    if (outcome !== undefined) this.loads?.measured(attempt.peer, this.fleet.clock.time - attempt.startedAt, outcome);
    return verdict;
  }

  /**
   * @param {Attempt} attempt
   * @param {import('../internals.mjs').Verdict} verdict
   */
  #retry({ call, code, details, peer }, verdict) {
    const { fleet } = this;
    call.tried ??= [peer];
    const end = { code, details, metadata: NO_METADATA, peer, connection: undefined };
    const decision = this.#retries.decide(call, end, verdict, fleet.deadlineOf(call));
    if (decision.retry) fleet.backOff(call, decision.delayMs);
    else this.#failed(call);
  }

  /** @param {Call} call */
  #failed(call) {
    this.fleet.meter.called(call.startedAt, this.fleet.clock.time, false);
  }
}
