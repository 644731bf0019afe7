import type { experimental } from '@grpc/grpc-js';
import { pauseAfterUpdateMs, updateIntervalMs } from '../../policy/reconnect/address-update-interval.js';
import type { Clock, Timer } from '../../time/clock.js';
import { systemRandom, type Random } from '../../time/random.js';

type LoadBalancer = experimental.LoadBalancer;

/** Arguments of `updateAddressList`: the result of the resolver. */
export type AddressUpdate = Parameters<LoadBalancer['updateAddressList']>;
type Endpoints = Extract<AddressUpdate[0], { readonly ok: true }>['value'];

/**
 * Maximum number of addresses that are used per name. grpc-js compares each address with all others: an update blocks the event loop for
 * 0.1 s with 1,000 addresses, and for seconds with 10,000.
 */
export const MAX_ADDRESSES = 1_000;

/**
 * Passes the updates of a resolver to a load-balancing policy at a bounded rate: the first one immediately, then the latest one every
 * 100 ms. Addresses that follow an empty update are used immediately. Without this limit, a resolver that reports faster would use all of
 * the process's CPU time. A resolver that reports no addresses is an example: grpc-js would call it again immediately.
 */
export class AddressUpdates {
  private held: AddressUpdate | undefined;
  private timer: Timer | undefined;
  private isPassing = false;
  /** Earliest time of the next update, in monotonic milliseconds. */
  private dueAt = -Infinity;
  /** Number of consecutive updates without addresses. */
  private empty = 0;
  /** Endpoints in use, if the resolver reported more addresses than are used. */
  private chosen: ReadonlySet<string> = new Set();

  /**
   * @param apply returns false if the policy cannot use the update
   * @param limited is called if more addresses were reported than are used
   */
  constructor(
    private readonly clock: Clock,
    private readonly apply: (...update: AddressUpdate) => boolean,
    private readonly limited: (reported: number, used: number) => void,
    private readonly random: Random = systemRandom,
  ) {}

  /** Returns false if the policy cannot use the update; true if the update waits. */
  take(...update: AddressUpdate): boolean {
    // Calls are waiting for the first addresses after an empty update.
    const isUrgent = this.empty > 0 && hasAddresses(update);
    const waitMs = this.dueAt - this.clock.now();
    // Some resolvers report again while an update is being passed on.
    if (!this.isPassing && (waitMs <= 0 || isUrgent)) return this.pass(update);
    // An error does not replace addresses that were reported before.
    if (update[0].ok || this.held?.[0].ok !== true) this.held = update;
    this.timer ??= this.clock.setTimer(this.passHeld, waitMs);
    return true;
  }

  stop(): void {
    this.timer?.clear();
    this.timer = undefined;
    this.held = undefined;
  }

  private pass(update: AddressUpdate): boolean {
    this.stop();
    const [endpoints, config, ...others] = update;
    const startedAt = this.clock.now();
    this.empty = hasAddresses(update) ? 0 : this.empty + 1;
    this.dueAt = startedAt + updateIntervalMs(this.empty);
    this.isPassing = true;
    try {
      // pick_first prefers the first addresses.
      const isOrdered = config.getLoadBalancerName() === 'pick_first';
      const used = endpoints.ok ? { ...endpoints, value: this.bounded(endpoints.value, isOrdered) } : endpoints;
      return this.apply(used, config, ...others);
    } finally {
      this.isPassing = false;
      const now = this.clock.now();
      this.dueAt = Math.max(this.dueAt, now + pauseAfterUpdateMs(now - startedAt));
    }
  }

  private readonly passHeld = (): void => {
    this.timer = undefined;
    if (this.held === undefined) return;
    const waitMs = this.dueAt - this.clock.now();
    // The last update took a long time and moved `dueAt`.
    if (waitMs > 0) this.timer = this.clock.setTimer(this.passHeld, waitMs);
    else this.pass(this.held);
  };

  /**
   * Bounds the number of addresses. Keeps the endpoints in use, because a name server that changes the order each time must not move
   * the connections. Selects the rest at random: if every client used the first addresses, the other servers would receive no calls.
   */
  private bounded(endpoints: Endpoints, isOrdered: boolean): Endpoints {
    const reported = endpoints.reduce((count, { addresses }) => count + addresses.length, 0);
    if (reported <= MAX_ADDRESSES) return endpoints;
    // An endpoint that is reported twice is used once.
    const byKey = new Map<string, Endpoints[number]>();
    for (const endpoint of endpoints) {
      const addresses = endpoint.addresses.slice(0, MAX_ADDRESSES);
      byKey.set(JSON.stringify(addresses), { ...endpoint, addresses });
    }
    const others = [...byKey.keys()].filter((key) => !this.chosen.has(key));
    if (!isOrdered) shuffle(others, this.random);
    const former = [...byKey.keys()].filter((key) => this.chosen.has(key));
    const chosen = new Set<string>();
    let used = 0;
    for (const key of [...former, ...others]) {
      const count = byKey.get(key)?.addresses.length ?? 0;
      if (used + count > MAX_ADDRESSES) continue;
      used += count;
      chosen.add(key);
    }
    this.chosen = chosen;
    this.limited(reported, used);
    return [...byKey].filter(([key]) => chosen.has(key)).map(([, endpoint]) => endpoint);
  }
}

function shuffle(keys: string[], random: Random): void {
  for (let last = keys.length - 1; last > 0; last--) {
    const drawn = Math.floor(random() * (last + 1));
    // Safe: both are valid indexes.
    [keys[last], keys[drawn]] = [keys[drawn] as string, keys[last] as string];
  }
}

function hasAddresses([endpoints]: AddressUpdate): boolean {
  return endpoints.ok && endpoints.value.length > 0;
}
