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
      fault(seconds, 360, 60, 'a proxy returns UNAVAILABLE', {
        begin: ({ servers }) => {
          for (const server of servers) server.isUnreachable = true;
        },
        end: ({ servers }) => {
          for (const server of servers) server.isUnreachable = false;
        },
      }),
    ],
  },
  overload: {
    title: 'twice the usual load for 60 s, then four times the usual load for 10 s',
    faults: (seconds) => [traffic(seconds, 60, 60, 2), traffic(seconds, 330, 10, 4)],
  },
  brownout: {
    title: '50% of the capacity is lost for 60 s, then 90% for 30 s',
    faults: (seconds) => [slow(seconds, 60, 60, 0.5), slow(seconds, 330, 30, 0.1)],
  },
  rolling: {
    title: 'ten servers are killed and restarted in turn, each down for 5 s',
    // The capacity is twice the usual load, because connections are distributed randomly, and some servers have 50% more connections than
    // others. In addition, one server at a time is down.
    world: { servers: 10, capacity: 2 },
    faults: (seconds) =>
      Array.from({ length: 10 }, (_, index) => {
        const restart = {
          /** @param {Fleet} fleet */
          begin: (fleet) => {
            fleet.stop(index);
          },
          /** @param {Fleet} fleet */
          end: (fleet) => {
            fleet.start(index);
          },
        };
        return fault(seconds, 60 + 40 * index, 5, `server ${String(index + 1)} is down`, restart);
      }),
  },
  stall: {
    title: 'the server stalls for 5 s, then for 15 s; its connections stay open',
    faults: (seconds) => [stalled(seconds, 60, 5), stalled(seconds, 330, 15)],
  },
};

/**
 * @param {number} seconds
 * @param {number} at
 * @param {number} length
 */
function down(seconds, at, length) {
  return fault(seconds, at, length, 'down', {
    begin: (fleet) => {
      for (const index of fleet.servers.keys()) fleet.stop(index);
    },
    end: (fleet) => {
      for (const index of fleet.servers.keys()) fleet.start(index);
    },
  });
}

/**
 * @param {number} seconds
 * @param {number} at
 * @param {number} length
 * @param {number} factor
 */
function traffic(seconds, at, length, factor) {
  return fault(seconds, at, length, `${String(factor)} times the usual load`, {
    begin: (fleet) => {
      fleet.traffic = factor;
    },
    end: (fleet) => {
      fleet.traffic = 1;
    },
  });
}

/**
 * @param {number} seconds
 * @param {number} at
 * @param {number} length
 * @param {number} capacity
 */
function slow(seconds, at, length, capacity) {
  return fault(seconds, at, length, `${String(capacity * 100)}% of the capacity`, {
    begin: ({ servers }) => {
      for (const server of servers) server.capacity = capacity;
    },
    end: ({ servers }) => {
      for (const server of servers) server.capacity = 1;
    },
  });
}

/**
 * @param {number} seconds
 * @param {number} at
 * @param {number} length
 */
function stalled(seconds, at, length) {
  return fault(seconds, at, length, 'stalled', {
    begin: ({ servers }) => {
      for (const server of servers) server.stall();
    },
    end: ({ servers }) => {
      for (const server of servers) server.resume();
    },
  });
}

/**
 * @param {number} seconds
 * @param {number} at
 * @param {number} length
 * @param {string} title
 * @param {Pick<Fault, 'begin' | 'end'>} change
 * @returns {Fault}
 */
function fault(seconds, at, length, title, change) {
  const scale = seconds / FULL_SECONDS;
  const from = at * scale * 1_000;
  return { from, to: from + Math.max(length * scale, Math.min(length, MIN_FAULT_SECONDS)) * 1_000, title, ...change };
}
