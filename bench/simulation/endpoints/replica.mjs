/** Median latency of a healthy replica in milliseconds. With `SIGMA`, the p99 is about 100 ms. */
const MEDIAN_MS = 20;
const SIGMA = 0.7;
/**
 * Duration of a pause in milliseconds. About once a minute, a replica pauses, as for a garbage collection. Attempts that arrive during the
 * pause are answered after it.
 */
const PAUSE_MS = 300;
const PAUSE_PERIOD_MS = 61_000;
/** Offset between the pauses of successive replicas, so that they do not all pause at once. */
const PAUSE_SHIFT_MS = 17_000;
/** Share of the attempts that fail on a healthy or slow replica. */
const ERROR_SHARE = 0.001;
/** Latency of the UNAVAILABLE status of a failing replica. */
const FAILURE_MS = 5;
/** Factor by which a slow replica is slower. */
const SLOWDOWN_FACTOR = 25;

const PORT = 50051;

/** @typedef {'healthy' | 'failing' | 'slow' | 'frozen'} Condition */

/** One of several servers. Its latency does not depend on its load, so that only the clients' decisions change the figures. */
export class Replica {
  /** @type {Condition} */
  condition = 'healthy';

  /** @param {number} index */
  constructor(index) {
    this.index = index;
    this.address = addressOf(index);
    const subchannel = { getAddress: () => this.address };
    /** The pick of this replica, without the hooks of a policy. */
    this.pick = { pickResultType: 0, subchannel, status: null, onCallStarted: null, onCallEnded: null };
    /** The endpoint, as a resolver of grpc-js reports it. */
    this.endpoint = {
      addresses: [{ host: this.address.slice(0, -`:${String(PORT)}`.length), port: PORT }],
      replica: this,
    };
  }

  /**
   * Returns the time of the response to an attempt, positive if it succeeds and negative if it fails; Infinity while the replica is frozen.
   *
   * @param {number} now
   * @param {() => number} random
   */
  respond(now, random) {
    if (this.condition === 'frozen') return Infinity;
    if (this.condition === 'failing') return -(now + FAILURE_MS);
    const latency = MEDIAN_MS * Math.exp(SIGMA * normal(random)) * (this.condition === 'slow' ? SLOWDOWN_FACTOR : 1);
    const pauseEndsIn = PAUSE_MS - ((now + this.index * PAUSE_SHIFT_MS) % PAUSE_PERIOD_MS);
    const at = now + Math.max(latency, pauseEndsIn);
    return random() < ERROR_SHARE ? -at : at;
  }
}

/** @param {number} index */
export function addressOf(index) {
  return `10.0.${String(index >> 8)}.${String(index & 255)}:${String(PORT)}`;
}

/**
 * Returns a normally distributed number.
 *
 * @param {() => number} random
 */
function normal(random) {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
