import { AttemptHistory } from '../../libs/resilient-grpc/dist/client/call/attempt-history.js';
import { classify } from '../../libs/resilient-grpc/dist/policy/evidence/classify.js';
import { OVERLOAD_KEY, OVERLOAD_VALUE } from '../../libs/resilient-grpc/dist/policy/overload/overload-mark.js';
import { DEFAULT_RETRY_POLICY } from '../../libs/resilient-grpc/dist/policy/retry/retry-policy.js';
import { DefaultBudget } from '../../libs/resilient-grpc/dist/policy/throttling/default-budget.js';
import { PHASE } from './calls.mjs';
import { SimulatedChannel } from './resilient-channel.mjs';

/** Path of the method that all calls of the simulation use. */
const PATH = '/orders.v1.Orders/Get';

/** @typedef {import('./fleet.mjs').Fleet} Fleet */

const EVIDENCE = {
  code: 14,
  details: '',
  picked: true,
  channelReady: true,
  endedHere: /** @type {const} */ ('no'),
  headersReceived: false,
  messagesReceived: 0,
  contentType: undefined,
};
const REFUSED = classify({ ...EVIDENCE, contentType: 'application/grpc' });
const OVERLOADED = classify({ ...EVIDENCE, code: 8, contentType: 'application/grpc' });
const LOST = classify({ ...EVIDENCE, details: 'Connection dropped', channelReady: false });

const NO_METADATA = { get: () => [] };
/** Trailers of a call that this library's server refuses because of an overload, as in server/overload/refusal.ts. */
const OVERLOAD_METADATA = {
  /** @param {string} key */
  get: (key) => (key === 'grpc-retry-pushback-ms' ? ['-1'] : key === OVERLOAD_KEY ? [OVERLOAD_VALUE] : []),
};
const REGISTRY = { accepting: 'yes', drainUntil: Infinity };

/**
 * A client of this library with its channel, its budget, and its decisions. This class adds only the steps of a unary call that connect
 * them, as in client/call/client-call.ts and client/call/call-gate.ts.
 *
 * @implements {import('./policies.mjs').Client}
 */
export class ResilientClient {
  #budget;
  #context;
  /** @type {Map<number, AttemptHistory>} Histories of calls with a failed attempt. */
  #histories = new Map();
  /** @type {Map<number, Waiter>} Waiters of waiting calls, and of released calls without a response. */
  #waiters = new Map();
  /** @type {Set<number>} Calls in backoff whose connection was lost. */
  #rateLimited = new Set();
  /** @type {object | undefined} The most recently lost connection. */
  #lost;

  /**
   * @param {Fleet} fleet
   * @param {import('./policies.mjs').Constants} constants
   */
  constructor(fleet, constants) {
    this.fleet = fleet;
    this.channel = SimulatedChannel.open(fleet, constants);
    this.#budget = { current: new DefaultBudget(constants.budget) };
    const client = {
      clock: fleet.clock,
      random: fleet.random,
      budget: this.#budget,
      registry: REGISTRY,
      throttled: () => undefined,
    };
    // Contains only the properties that retry decisions use.
    this.#context = {
      client,
      policy: { retry: { ...DEFAULT_RETRY_POLICY, ...constants.retry } },
      hedging: undefined,
      isSafeToRepeat: true,
    };
  }

  get isConnected() {
    return this.channel.ready;
  }

  connect() {
    this.channel.current.connect();
  }

  /** @param {number} call */
  begin(call) {
    this.#proceed(call, false);
  }

  /** @param {number} call */
  backoffOver(call) {
    this.#proceed(call, this.#rateLimited.delete(call));
  }

  /**
   * @param {number} call
   * @param {boolean} rateLimited
   */
  #proceed(call, rateLimited) {
    if (this.channel.ready && !rateLimited) this.#attempt(call);
    else this.#wait(call, rateLimited);
  }

  /**
   * @param {number} call
   * @param {boolean} rateLimited
   */
  #wait(call, rateLimited) {
    this.fleet.calls.enter(call, PHASE.waiting);
    const waiter = new Waiter(this, call, rateLimited);
    this.#waiters.set(call, waiter);
    this.channel.wait(waiter);
  }

  /** @param {number} call */
  #attempt(call) {
    this.fleet.attempted(call);
    this.channel.attemptBegins();
    this.fleet.send(call, this.channel.server);
  }

  /**
   * @param {number} call
   * @param {number} waitingSince
   */
  released(call, waitingSince) {
    if (!this.channel.ready) {
      this.#wait(call, false);
      return;
    }
    const { clock, meter } = this.fleet;
    meter.released(Math.min(clock.epoch() - this.channel.since, clock.now() - waitingSince));
    this.#attempt(call);
  }

  /** @param {number} call A call that is not allowed to wait, or is no longer allowed to. */
  waitRefused(call) {
    this.#waiters.delete(call);
    this.#fail(call);
  }

  /** @param {number} call */
  succeeded(call) {
    const { clock, calls } = this.fleet;
    const latencyMs = clock.time - calls.sentAt(call);
    this.channel.attemptEnds();
    this.channel.answered(latencyMs, PATH);
    this.#reportReleased(call, latencyMs);
    this.#budget.current.onSuccess(clock.time);
    if (this.#histories.size > 0) this.#histories.delete(call);
    this.fleet.ended(call);
  }

  /** @param {number} call */
  refused(call) {
    this.channel.attemptEnds();
    this.channel.answered(undefined, PATH);
    this.#attemptFailed(call, REFUSED, undefined);
  }

  /** @param {number} call */
  refusedForGood(call) {
    this.channel.attemptEnds();
    this.channel.answered(undefined, PATH);
    this.#attemptFailed(call, OVERLOADED, undefined, OVERLOAD_METADATA);
  }

  /** @param {number} call */
  attemptLost(call) {
    this.#attemptFailed(call, LOST, this.#lost);
  }

  attemptTimedOut() {
    // This policy has no attempt timeout.
  }

  /** @param {number} call */
  deadlinePassed(call) {
    const { calls, clock } = this.fleet;
    const waiter = this.#waiters.get(call);
    this.#histories.delete(call);
    this.#rateLimited.delete(call);
    if (calls.phaseOf(call) === PHASE.running) {
      this.channel.attemptEnds();
      this.#budget.current.onDeadline(clock.time, calls.sentAt(call));
      this.channel.timedOut(calls.sentAt(call), clock.time - calls.sentAt(call));
      this.#reportReleased(call, undefined);
    } else if (waiter !== undefined) {
      this.#waiters.delete(call);
      this.channel.dequeue(waiter);
    }
  }

  /** @param {number} server */
  connectionLost(server) {
    if (this.channel.server !== server) return;
    this.#lost = this.channel.connection;
    this.channel.loseConnection();
  }

  /**
   * @param {number} call
   * @param {import('../../libs/resilient-grpc/dist/policy/evidence/verdict.js').Verdict} verdict
   * @param {object | undefined} connection
   * @param {{ readonly get: (key: string) => readonly string[] }} metadata
   */
  #attemptFailed(call, verdict, connection, metadata = NO_METADATA) {
    const { fleet } = this;
    this.#reportReleased(call, undefined);
    let history = this.#histories.get(call);
    if (history === undefined) {
      history = new AttemptHistory();
      this.#histories.set(call, history);
    }
    const end = {
      code: verdict.code,
      details: verdict.details,
      metadata,
      connection,
      wire: { acceptsNoStreams: connection !== undefined },
    };
    const { decision } = history.judge(this.#context, end, verdict, {
      options: undefined,
      deadline: fleet.deadlineOf(call),
      attempts: fleet.calls.attemptsOf(call),
      requestReplayable: true,
      delivered: false,
      inRetryChain: false,
    });
    if (!decision.retry) {
      this.#fail(call);
      return;
    }
    // Calls lost with a connection are resent at a limited rate, as in client/call/client-call.ts.
    if (verdict.connectionLost) this.#rateLimited.add(call);
    fleet.backOff(call, decision.delayMs);
  }

  /**
   * @param {number} call
   * @param {number | undefined} latencyMs
   */
  #reportReleased(call, latencyMs) {
    if (this.#waiters.size === 0) return;
    const waiter = this.#waiters.get(call);
    if (waiter === undefined) return;
    this.#waiters.delete(call);
    this.channel.releasedCallEnded(latencyMs ?? 'failed', waiter);
  }

  /** @param {number} call */
  #fail(call) {
    this.#histories.delete(call);
    this.fleet.failed(call);
  }
}

/** An entry in the queue of a channel. */
class Waiter {
  waitForReady = undefined;
  bytes = 100;
  expectsPromptResponse = true;
  path = PATH;

  /**
   * @param {ResilientClient} client
   * @param {number} call
   * @param {boolean} rateLimited
   */
  constructor(client, call, rateLimited) {
    const { fleet } = client;
    this.client = client;
    this.call = call;
    this.rateLimited = rateLimited;
    this.waitingSince = fleet.clock.now();
    this.deadline = fleet.deadlineOf(call);
  }

  release() {
    this.client.released(this.call, this.waitingSince);
  }

  refuse() {
    if (this.client.fleet.calls.isOpen(this.call)) this.client.waitRefused(this.call);
  }
}
