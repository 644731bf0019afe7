import { DEFAULT_EJECTION } from '../internals.mjs';
import { LeastRequest, RoundRobin } from './balancing.mjs';

/** @typedef {import('./client.mjs').EndpointClient} EndpointClient */

/**
 * A client's load balancing and ejection.
 *
 * @typedef {object} EndpointPolicy
 * @property {string} name
 * @property {string} title
 * @property {import('../internals.mjs').EjectionPolicy | undefined} ejection
 * @property {boolean} usesLoads
 * @property {(client: EndpointClient) => { update(replicas: readonly import('./replica.mjs').Replica[]): void }} balance
 */

const ROUND_ROBIN = { usesLoads: false, balance: (client) => new RoundRobin(client) };
const LEAST_REQUEST = { usesLoads: true, balance: (client) => new LeastRequest(client) };
const EJECTING = { title: 'with ejectUnhealthy: true', ejection: DEFAULT_EJECTION };
const NO_SLOW_START = {
  title: 'with ejectUnhealthy: { slowStartMs: 0 }',
  ejection: { ...DEFAULT_EJECTION, slowStartMs: 0 },
};
const NOT_EJECTING = { title: 'without ejection', ejection: undefined };

/** @type {readonly EndpointPolicy[]} */
export const ENDPOINT_POLICIES = [
  ['ejectUnhealthy', 'round_robin', ROUND_ROBIN, EJECTING],
  ['no slow start', 'round_robin', ROUND_ROBIN, NO_SLOW_START],
  ['round_robin', 'round_robin', ROUND_ROBIN, NOT_EJECTING],
  ['least_request, ejecting', 'least_request', LEAST_REQUEST, EJECTING],
  ['least_request, no slow start', 'least_request', LEAST_REQUEST, NO_SLOW_START],
  ['least_request', 'least_request', LEAST_REQUEST, NOT_EJECTING],
].map(([name, balancing, balance, { title, ejection }]) => ({
  name,
  title: `${balancing} ${title}`,
  ejection,
  ...balance,
}));
