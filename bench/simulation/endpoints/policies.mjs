import { DEFAULT_EJECTION } from '../../../libs/resilient-grpc/dist/policy/ejection/ejection-policy.js';
import { LeastRequest, RoundRobin } from './balancing.mjs';

/** @typedef {import('./client.mjs').EndpointClient} EndpointClient */
/** @typedef {import('../../../libs/resilient-grpc/dist/policy/ejection/ejection-policy.js').EjectionPolicy} EjectionPolicy */

/**
 * A client's load balancing and ejection.
 *
 * @typedef {object} EndpointPolicy
 * @property {string} name
 * @property {string} title
 * @property {EjectionPolicy | undefined} ejection
 * @property {boolean} usesLoads
 * @property {(client: EndpointClient) => { update(replicas: readonly import('./replica.mjs').Replica[]): void }} balance
 */

const roundRobin = {
  usesLoads: false,
  /** @param {EndpointClient} client */
  balance: (client) => new RoundRobin(client),
};

const leastRequest = {
  usesLoads: true,
  /** @param {EndpointClient} client */
  balance: (client) => new LeastRequest(client),
};

/** @type {readonly EndpointPolicy[]} */
export const ENDPOINT_POLICIES = [
  {
    name: 'ejectUnhealthy',
    title: 'round_robin with ejectUnhealthy: true',
    ejection: DEFAULT_EJECTION,
    ...roundRobin,
  },
  {
    name: 'no slow start',
    title: 'round_robin with ejectUnhealthy: { slowStartMs: 0 }',
    ejection: { ...DEFAULT_EJECTION, slowStartMs: 0 },
    ...roundRobin,
  },
  { name: 'round_robin', title: 'round_robin without ejection', ejection: undefined, ...roundRobin },
  {
    name: 'least_request, ejecting',
    title: 'least_request with ejectUnhealthy: true',
    ejection: DEFAULT_EJECTION,
    ...leastRequest,
  },
  {
    name: 'least_request, no slow start',
    title: 'least_request with ejectUnhealthy: { slowStartMs: 0 }',
    ejection: { ...DEFAULT_EJECTION, slowStartMs: 0 },
    ...leastRequest,
  },
  { name: 'least_request', title: 'least_request without ejection', ejection: undefined, ...leastRequest },
];
