/** @typedef {import('./fleet.mjs').EndpointFleet} EndpointFleet */
/** @typedef {import('./fleet.mjs').EndpointWorld} EndpointWorld */

/**
 * @typedef {object} EndpointScenario
 * @property {string} title
 * @property {Partial<EndpointWorld>} [world] Parameters that differ from the default.
 * @property {number} seconds
 * @property {{ readonly from: number, readonly to: number }} fault Seconds.
 * @property {(endpoints: number) => readonly number[]} watched Replicas whose load and ejections are measured.
 * @property {(endpoints: number) => readonly { readonly at: number, readonly apply: (fleet: EndpointFleet) => void }[]} changes Timed
 * changes to the fleet; `at` is in milliseconds.
 */

const FAULT = { from: 10, to: 35 };
const FLAPS = { from: 20, to: 620 };
const FLAP_SECONDS = 10;
/**
 * Start and end, in seconds, of a fault long after the flaps. The durations of the resulting ejections show how far the ejection multiplier
 * has decreased since the flaps.
 */
const LATER = { from: 930, to: 950 };
const APPEARS_AT = 20;
/** Share of the replicas that fail in `endpoints-fail`. */
const FAILING_SHARE = 0.6;
/** Maximum time until a client receives an address change, as with a watch of EndpointSlices. */
const RESOLVED_WITHIN_MS = 100;

const firstReplica = () => [0];
const failingReplicas = (endpoints) => [...Array(Math.round(endpoints * FAILING_SHARE)).keys()];

/** @type {Readonly<Record<string, EndpointScenario>>} */
export const ENDPOINT_SCENARIOS = {
  'endpoint-fails': withFault('one endpoint fails every call for 25 s', 'failing', firstReplica),
  'endpoint-slow': withFault('one endpoint is 25 times slower for 25 s', 'slow', firstReplica),
  'endpoint-freezes': withFault('one endpoint does not respond for 25 s', 'frozen', firstReplica),
  'endpoints-fail': withFault('60% of the endpoints fail every call for 25 s', 'failing', failingReplicas),
  'endpoint-flaps': {
    title:
      'one endpoint alternately fails for 10 s and works for 10 s, for 10 min; 5 min later, it fails once for 20 s',
    world: { clients: 20, callsPerSecond: 100 },
    seconds: 1_080,
    fault: FLAPS,
    watched: firstReplica,
    changes: () => {
      const changes = [];
      for (let at = FLAPS.from; at < FLAPS.to; at += 2 * FLAP_SECONDS) {
        changes.push(become(at, [0], 'failing'), become(at + FLAP_SECONDS, [0], 'healthy'));
      }
      return [...changes, become(LATER.from, [0], 'failing'), become(LATER.to, [0], 'healthy')];
    },
  },
  'endpoint-appears': {
    title: 'an endpoint is added',
    seconds: 60,
    fault: { from: APPEARS_AT, to: APPEARS_AT },
    watched: (endpoints) => [endpoints],
    changes: () => [
      {
        at: APPEARS_AT * 1_000,
        apply: (fleet) => {
          fleet.addReplica();
          fleet.resolveAll(RESOLVED_WITHIN_MS);
        },
      },
    ],
  },
  'endpoints-healthy': {
    title: 'no fault',
    seconds: 85,
    fault: { from: 0, to: 0 },
    watched: () => [],
    changes: () => [],
  },
};

/**
 * @param {string} title
 * @param {import('./replica.mjs').Condition} condition
 * @param {EndpointScenario['watched']} watched
 * @returns {EndpointScenario}
 */
function withFault(title, condition, watched) {
  return {
    title,
    seconds: 85,
    fault: FAULT,
    watched,
    changes: (endpoints) => [
      become(FAULT.from, watched(endpoints), condition),
      become(FAULT.to, watched(endpoints), 'healthy'),
    ],
  };
}

/**
 * @param {number} seconds
 * @param {readonly number[]} indexes
 * @param {import('./replica.mjs').Condition} condition
 */
function become(seconds, indexes, condition) {
  return {
    at: seconds * 1_000,
    /** @param {EndpointFleet} fleet */
    apply: ({ replicas }) => {
      for (const index of indexes) replicas[index].condition = condition;
    },
  };
}
