/** @typedef {import('./fleet.mjs').Fleet} Fleet */

/**
 * A fault and its time.
 *
 * @typedef {object} Fault
 * @property {number} from Start in milliseconds.
 * @property {number} to
 * @property {string} title
 * @property {(fleet: Fleet) => void} begin
 * @property {(fleet: Fleet) => void} end
 */

/**
 * @typedef {object} Scenario
 * @property {string} title
 * @property {Partial<import('./fleet.mjs').World>} [world] Parameters that differ from the default.
 * @property {(seconds: number) => readonly Fault[]} faults In chronological order, without overlap.
 */

/**
 * Duration for which scenarios are defined, in seconds. Their times are scaled to the simulated time, but each fault lasts at least three
 * seconds.
 */
const FULL_SECONDS = 600;
const MIN_FAULT_SECONDS = 3;

/** @type {Readonly<Record<string, Scenario>>} */
export const SCENARIOS = {
  outage: {
    title: 'the server is down for 3, 8, and 60 s, then a proxy returns UNAVAILABLE for 60 s',
    faults: (seconds) => [
      down(seconds, 48, 3),
      down(seconds, 120, 8),
      down(seconds, 210, 60),
      setOnAll(seconds, 360, 60, 'a proxy returns UNAVAILABLE', 'isUnreachable', true, false),
    ],
  },
  overload: {
    title: 'twice the usual load for 60 s, then four times the usual load for 10 s',
    faults: (seconds) => [traffic(seconds, 60, 60, 2), traffic(seconds, 330, 10, 4)],
  },
  brownout: {
    title: '50% of the capacity is lost for 60 s, then 90% for 30 s',
    faults: (seconds) => [
      setOnAll(seconds, 60, 60, '50% of the capacity', 'capacity', 0.5, 1),
      setOnAll(seconds, 330, 30, '10% of the capacity', 'capacity', 0.1, 1),
    ],
  },
  rolling: {
    title: 'ten servers are killed and restarted in turn, each down for 5 s',
    // The capacity is twice the usual load, because connections are distributed randomly, and some servers have 50% more connections than
    // others. In addition, one server at a time is down.
    world: { servers: 10, capacity: 2 },
    faults: (seconds) =>
      Array.from({ length: 10 }, (_, index) => {
        const title = `server ${String(index + 1)} is down`;
        return fault(
          seconds,
          60 + 40 * index,
          5,
          title,
          (fleet) => fleet.stop(index),
          (fleet) => fleet.start(index),
        );
      }),
  },
  stall: {
    title: 'the server stalls for 5 s, then for 15 s; its connections stay open',
    faults: (seconds) => [stalled(seconds, 60, 5), stalled(seconds, 330, 15)],
  },
};

const stalled = (seconds, at, length) =>
  onAll(
    seconds,
    at,
    length,
    'stalled',
    (server) => server.stall(),
    (server) => server.resume(),
  );

const down = (seconds, at, length) =>
  onAll(
    seconds,
    at,
    length,
    'down',
    (_, fleet, index) => fleet.stop(index),
    (_, fleet, index) => fleet.start(index),
  );

/** A fault that multiplies the traffic. */
function traffic(seconds, at, length, factor) {
  const set = (value) => (fleet) => {
    fleet.traffic = value;
  };
  return fault(seconds, at, length, `${String(factor)} times the usual load`, set(factor), set(1));
}

/** A fault of all servers that changes one of their fields. */
function setOnAll(seconds, at, length, title, field, during, after) {
  const set = (value) => (server) => {
    server[field] = value;
  };
  return onAll(seconds, at, length, title, set(during), set(after));
}

/**
 * A fault of all servers.
 *
 * @param {number} seconds
 * @param {number} at
 * @param {number} length
 * @param {string} title
 * @param {(server: import('./server.mjs').Server, fleet: Fleet, index: number) => void} begin
 * @param {(server: import('./server.mjs').Server, fleet: Fleet, index: number) => void} end
 */
function onAll(seconds, at, length, title, begin, end) {
  const each = (change) => (fleet) => {
    for (const [index, server] of fleet.servers.entries()) change(server, fleet, index);
  };
  return fault(seconds, at, length, title, each(begin), each(end));
}

/**
 * @param {number} seconds
 * @param {number} at
 * @param {number} length
 * @param {string} title
 * @param {Fault['begin']} begin
 * @param {Fault['end']} end
 * @returns {Fault}
 */
function fault(seconds, at, length, title, begin, end) {
  const scale = seconds / FULL_SECONDS;
  const from = at * scale * 1_000;
  const to = from + Math.max(length * scale, Math.min(length, MIN_FAULT_SECONDS)) * 1_000;
  return { from, to, title, begin, end };
}
