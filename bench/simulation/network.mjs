/** @typedef {import('./clock.mjs').SimulatedClock} SimulatedClock */
/** @typedef {import('./server.mjs').Server} Server */
/** @typedef {import('./subchannel.mjs').Subchannel} Subchannel */

const ROUND_TRIP_MS = 1;

/** Connects each client to a random running server, as the address of a Kubernetes service does. */
export class Network {
  /** @type {Map<number, { readonly subchannel: Subchannel, readonly server: number }>} */
  #connecting = new Map();
  #next = 0;
  /** True if connections take no time and cost the server nothing. */
  isFree = false;

  /**
   * @param {readonly Server[]} servers
   * @param {SimulatedClock} clock
   * @param {() => number} random
   */
  constructor(servers, clock, random) {
    this.servers = servers;
    this.clock = clock;
    this.random = random;
  }

  /**
   * @param {Subchannel} subchannel
   * @returns {number} The id for `abort`.
   */
  connect(subchannel) {
    const id = this.#next++;
    const server = this.#choose();
    this.#connecting.set(id, { subchannel, server });
    if (this.isFree) {
      this.clock.defer(() => {
        this.accepted(id);
      });
    } else {
      this.clock.setTimer(() => {
        const chosen = this.servers[server];
        if (!this.#connecting.has(id)) return;
        if (chosen?.isUp !== true) {
          this.#refuse(id);
          return;
        }
        subchannel.accepted();
        chosen.takeHandshake(id);
      }, ROUND_TRIP_MS);
    }
    return id;
  }

  #choose() {
    const up = [...this.servers.keys()].filter((index) => this.servers[index]?.isUp);
    return up[Math.floor(this.random() * up.length)] ?? -1;
  }

  /** @param {number} id */
  abort(id) {
    this.#connecting.delete(id);
  }

  /** @param {number} id */
  accepted(id) {
    const connecting = this.#connecting.get(id);
    this.#connecting.delete(id);
    connecting?.subchannel.connected(connecting.server);
  }

  /** Refuses all pending connections to a stopped server. @param {number} server */
  serverStopped(server) {
    for (const [id, connecting] of [...this.#connecting]) if (connecting.server === server) this.#refuse(id);
  }

  /** @param {number} id */
  #refuse(id) {
    const connecting = this.#connecting.get(id);
    this.#connecting.delete(id);
    connecting?.subchannel.failed('refused');
  }
}
