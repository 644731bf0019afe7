/** @typedef {import('./fleet.mjs').Fleet} Fleet */

/**
 * A time in which something is wrong.
 *
 * @typedef {object} Fault
 * @property {number} from Milliseconds from the beginning.
 * @property {number} to
 * @property {string} title
 * @property {(fleet: Fleet) => void} begin
 * @property {(fleet: Fleet) => void} end
 */

/**
 * @typedef {object} Scenario
 * @property {string} title
 * @property {Partial<import('./fleet.mjs').World>} [world] What its servers are, where they are not as usual.
 * @property {(seconds: number) => readonly Fault[]} faults In order; one is over before the next begins.
 */

/** Scenarios are written for ten minutes, and shrink with them, though no fault to less than three seconds. */
const WHOLE = 600;
const MIN_WINDOWS = 3;

/** @type {Readonly<Record<string, Scenario>>} */
export const SCENARIOS = {
  outage: {
    title: 'the server is gone for 3, 8 and 60 s, then for 60 s a proxy answers for it that nobody is there',
    faults: (seconds) => [
      gone(seconds, 48, 3),
      gone(seconds, 120, 8),
      gone(seconds, 210, 60),
      fault(seconds, 360, 60, 'every call is answered UNAVAILABLE', {
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
    title: 'twice the usual calls for 60 s, then four times as many for 10 s',
    faults: (seconds) => [traffic(seconds, 60, 60, 2), traffic(seconds, 330, 10, 4)],
  },
  brownout: {
    title: 'half of the capacity is lost for 60 s, then nine tenths of it for 30 s',
    faults: (seconds) => [slow(seconds, 60, 60, 0.5), slow(seconds, 330, 30, 0.1)],
  },
  rolling: {
    title: 'ten servers are restarted in turn, each gone for 5 s without a farewell',
    // Connections are spread by chance: some servers have half as many again as others, and one is always missing.
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
        return fault(seconds, 60 + 40 * index, 5, `server ${String(index + 1)} is gone`, restart);
      }),
  },
  stall: {
    title: 'the server does nothing for 5 s, then for 15 s; its connections stay',
    faults: (seconds) => [stalled(seconds, 60, 5), stalled(seconds, 330, 15)],
  },
};

/**
 * @param {number} seconds
 * @param {number} at
 * @param {number} length
 */
function gone(seconds, at, length) {
  return fault(seconds, at, length, 'gone', {
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
  return fault(seconds, at, length, `${String(factor)} times the calls`, {
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
  return fault(seconds, at, length, `${String(capacity * 100)} % of the capacity`, {
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
      for (const server of servers) server.goOn();
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
  const scale = seconds / WHOLE;
  const from = at * scale * 1_000;
  return { from, to: from + Math.max(length * scale, Math.min(length, MIN_WINDOWS)) * 1_000, title, ...change };
}
