import { DEFAULT_BUDGET_POLICY, DEFAULT_RELEASE_POLICY, DEFAULT_RETRY_POLICY } from './internals.mjs';
import { PlainClient } from './plain-client.mjs';
import { ResilientClient } from './resilient-client.mjs';

/** @typedef {import('./fleet.mjs').Fleet} Fleet */
/** @typedef {Parameters<Fleet['ended']>[0]} Call */

/**
 * A client of the fleet.
 *
 * @typedef {object} Client
 * @property {boolean} isConnected
 * @property {() => void} connect
 * @property {(call: Call) => void} begin
 * @property {(call: Call) => void} succeeded The running attempt succeeded.
 * @property {(call: Call) => void} refused The server returned UNAVAILABLE.
 * @property {(call: Call) => void} refusedForGood The server is overloaded and returned RESOURCE_EXHAUSTED, which must not be retried.
 * @property {(call: Call) => void} backoffOver The backoff is over, and the call is retried.
 * @property {(call: Call) => void} [attemptTimedOut] Called if the policy has a timeout for attempts.
 * @property {(call: Call) => void} attemptLost The attempt was lost with its connection. `connectionLost` is called first.
 * @property {(call: Call) => void} [deadlinePassed] The deadline of the call was exceeded.
 * @property {(server: number) => void} connectionLost All connections to that server were lost.
 */

/**
 * @typedef {object} Policy
 * @property {string} name
 * @property {string} title
 * @property {(fleet: Fleet) => Client} open
 */

const { initialBackoffMs, maxAttempts, maxBackoffMs, backoffMultiplier } = DEFAULT_RETRY_POLICY;

/** Constants of this library. */
export const CONSTANTS = {
  budget: DEFAULT_BUDGET_POLICY,
  release: DEFAULT_RELEASE_POLICY,
  retry: { initialBackoffMs, maxAttempts, maxBackoffMs, backoffMultiplier },
};

/** @typedef {typeof CONSTANTS} Constants */

/** A common setting for fast reconnects. */
const SHORT_BACKOFF = { firstMs: () => 100, maxMs: 1_000 };
export const GRPC_JS_BACKOFF = { firstMs: () => 1_000, maxMs: 120_000 };

/** @type {readonly Policy[]} */
export const POLICIES = [
  {
    name: 'resilient-grpc',
    title: 'this library with default options and a method that is safe to repeat',
    open: (fleet) => new ResilientClient(fleet, CONSTANTS),
  },
  {
    name: 'retry-without-budget',
    title:
      'same maximum number of attempts and same backoff as this library; 0.5 s per attempt; no budget; fails fast; reconnects after 0.1 to 1 s',
    open: (fleet) => new PlainClient(fleet, { backoff: SHORT_BACKOFF, retries: true, attemptTimeoutMs: 500 }),
  },
  {
    name: 'grpc-js',
    title: 'grpc-js with default options: one attempt per call; fails fast; reconnects after 1 to 120 s',
    open: (fleet) => new PlainClient(fleet, { backoff: GRPC_JS_BACKOFF, retries: false }),
  },
  {
    name: 'no-retry',
    title: 'one attempt per call; fails fast; reconnects after 0.1 to 1 s',
    open: (fleet) => new PlainClient(fleet, { backoff: SHORT_BACKOFF, retries: false }),
  },
];

/** The simulated channel ignores this constant, so that `release.boundGraces` can be varied beyond this maximum. */
const INEFFECTIVE_CONSTANT = 'release.maxBoundMs';

/** Names of the constants that can be varied, such as 'release.growth'. */
export const VARIABLE_CONSTANTS = Object.entries(CONSTANTS)
  .flatMap(([group, constants]) => Object.keys(constants).map((name) => `${group}.${name}`))
  .filter((path) => path !== INEFFECTIVE_CONSTANT);

/**
 * Returns a policy of this library for each value of a constant.
 *
 * @param {string} path One of {@link VARIABLE_CONSTANTS}.
 * @param {readonly number[]} values
 * @returns {readonly Policy[]}
 */
export function varied(path, values) {
  const [group, name] = /** @type {[keyof Constants, string]} */ (path.split('.'));
  return values.map((value) => {
    const constants = { ...CONSTANTS, [group]: { ...CONSTANTS[group], [name]: value } };
    const usual = /** @type {Readonly<Record<string, number>>} */ ({ ...CONSTANTS[group] })[name];
    return {
      name: `${name} ${String(value)}`,
      title: value === usual ? 'the default' : `instead of ${String(usual)}`,
      open: (fleet) => new ResilientClient(fleet, constants),
    };
  });
}
