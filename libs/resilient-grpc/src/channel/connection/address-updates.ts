import type { experimental } from '@grpc/grpc-js';
import type { Clock, Timer } from '../../time/clock.js';

type LoadBalancer = experimental.LoadBalancer;

/** The arguments of `updateAddressList`: what the resolver reported. */
export type AddressUpdate = Parameters<LoadBalancer['updateAddressList']>;
type Endpoints = Extract<AddressUpdate[0], { readonly ok: true }>['value'];

/**
 * Addresses of one name that are used. grpc-js compares each with each: an update takes 0.1 s with 1,000 addresses, and seconds with
 * 10,000, in which the event loop stands still.
 */
export const MAX_ADDRESSES = 1_000;
/** An update that follows sooner waits, and a later one replaces it. */
const MIN_UPDATE_INTERVAL_MS = 100;
/** The longest interval between updates without addresses, which doubles with each. Addresses that follow them are used at once. */
const MAX_EMPTY_INTERVAL_MS = 1_000;
/** The time between two updates, in multiples of the time that the first one took. */
const INTERVAL_PER_DURATION = 10;

/**
 * Passes the updates of a resolver to a load-balancing policy at a bounded pace: the first one at once, then the latest one every
 * 100 ms. A resolver that reports faster would take all of the process's time, and one that reports no addresses each time it is asked
 * would be asked again at once.
 */
export class AddressUpdates {
  private held: AddressUpdate | undefined;
  private timer: Timer | undefined;
  private isPassing = false;
  /** When the next update may be passed on, in monotonic milliseconds. */
  private dueAt = -Infinity;
  /** Updates without addresses, in a row. */
  private empty = 0;
  /** Addresses in use, where the resolver reported more than may be. */
  private chosen: ReadonlySet<string> = new Set();

  /**
   * @param apply returns false if the policy cannot use the update
   * @param limited is called if more addresses were reported than are used
   */
  constructor(
    private readonly clock: Clock,
    private readonly apply: (...update: AddressUpdate) => boolean,
    private readonly limited: (reported: number, used: number) => void,
  ) {}

  /** Returns false if the policy cannot use the update; true if the update waits. */
  take(...update: AddressUpdate): boolean {
    // The first addresses after an update without any are what calls wait for.
    const isUrgent = this.empty > 0 && hasAddresses(update);
    const waitMs = this.dueAt - this.clock.now();
    // Some resolvers report again while their report is being passed on.
    if (!this.isPassing && (waitMs <= 0 || isUrgent)) return this.pass(update);
    // An error changes nothing about the addresses that were reported before.
    if (update[0].ok || this.held?.[0].ok !== true) this.held = update;
    this.timer ??= this.clock.setTimer(this.passHeld, waitMs);
    return true;
  }

  stop(): void {
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
    this.held = undefined;
  }

  private pass(update: AddressUpdate): boolean {
    this.stop();
    const [endpoints, ...others] = update;
    const startedAt = this.clock.now();
    this.empty = hasAddresses(update) ? 0 : this.empty + 1;
    this.dueAt = startedAt + Math.min(MIN_UPDATE_INTERVAL_MS * 2 ** Math.max(0, this.empty - 1), MAX_EMPTY_INTERVAL_MS);
    this.isPassing = true;
    try {
      return this.apply(endpoints.ok ? { ...endpoints, value: this.bounded(endpoints.value) } : endpoints, ...others);
    } finally {
      this.isPassing = false;
      const now = this.clock.now();
      this.dueAt = Math.max(this.dueAt, now + (now - startedAt) * INTERVAL_PER_DURATION);
    }
  }

  private readonly passHeld = (): void => {
    this.timer = undefined;
    if (this.held === undefined) return;
    const waitMs = this.dueAt - this.clock.now();
    // The last update took long.
    if (waitMs > 0) this.timer = this.clock.setTimer(this.passHeld, waitMs);
    else this.pass(this.held);
  };

  /** Those in use stay: a name server that lists the addresses in another order each time must not move the connections. */
  private bounded(endpoints: Endpoints): Endpoints {
    const reported = endpoints.reduce((count, { addresses }) => count + addresses.length, 0);
    if (reported <= MAX_ADDRESSES) return endpoints;
    // Of an address that is reported twice, and of an endpoint with several addresses, the first is used.
    const byKey = new Map<string, Endpoints[number]>();
    for (const endpoint of endpoints) {
      const { addresses } = endpoint;
      const key = JSON.stringify(addresses[0]);
      if (!byKey.has(key)) byKey.set(key, { ...endpoint, addresses: addresses.slice(0, 1) });
    }
    const former = [...byKey.keys()].filter((key) => this.chosen.has(key));
    const chosen = new Set(former.slice(0, MAX_ADDRESSES));
    for (const key of byKey.keys()) if (chosen.size < MAX_ADDRESSES) chosen.add(key);
    this.chosen = chosen;
    this.limited(reported, chosen.size);
    return [...byKey].filter(([key]) => chosen.has(key)).map(([, endpoint]) => endpoint);
  }
}

function hasAddresses([endpoints]: AddressUpdate): boolean {
  return endpoints.ok && endpoints.value.length > 0;
}
