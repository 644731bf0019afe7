import type { experimental } from '@grpc/grpc-js';
import { pauseAfterUpdateMs, updateIntervalMs } from '../../policy/reconnect/reconnect-times.js';
import type { Clock, Timer } from '../../time/clock.js';
import { systemRandom, type Random } from '../../time/random.js';

/** Arguments of `updateAddressList`: the result of the resolver. */
export type AddressUpdate = Parameters<experimental.LoadBalancer['updateAddressList']>;
/** The endpoints of a name, each with its addresses. */
export type EndpointList = Extract<AddressUpdate[0], { readonly ok: true }>['value'];

/**
 * Maximum number of addresses that are used per name. grpc-js compares each address with all others, so an update blocks the event loop for
 * 0.1 s with 1,000 addresses, and for seconds with 10,000.
 */
export const MAX_ADDRESSES = 1_000;

/**
 * Passes the updates of a resolver to a load-balancing policy at a bounded rate: the first one immediately, then the latest one every
 * 100 ms, or less often if updates are slow or empty. Addresses that follow an empty update are used immediately. Without the bounded rate,
 * a resolver could use all CPU time of the process. For example, if a resolver reports no addresses, grpc-js immediately calls it again.
 *
 * An update with the same addresses, in any order, is skipped, because round_robin would recreate its state for each address. pick_first
 * prefers the first addresses, so it receives each update.
 *
 * For an idle channel, the latest addresses are kept until the channel connects, because a policy connects to addresses immediately, even
 * if no call needs a connection. Until then, errors and empty updates are ignored.
 */
export class AddressUpdates {
  private held: AddressUpdate | undefined;
  /** The last update that contained addresses and was passed to the policy. */
  private latest: AddressUpdate | undefined;
  private timer: Timer | undefined;
  private isPassing = false;
  /** Earliest time of the next update, in monotonic milliseconds. */
  private dueAt = -Infinity;
  /** Number of consecutive updates without addresses. */
  private empty = 0;
  /** Keys and options of the last update, to detect an equal update; `undefined` if the next update must not be skipped. */
  private applied: { readonly keys: string; readonly options: AddressUpdate[2] } | undefined;
  /** Keys of the endpoints that were selected when the resolver last reported more addresses than are used. */
  private chosen: ReadonlySet<string> = new Set();

  /**
   * @param apply returns false if the policy cannot use the update
   * @param limited called when the resolver reports more addresses than are used
   * @param isIdle true if no connection has been requested since the channel became idle
   */
  constructor(
    private readonly clock: Clock,
    private readonly apply: (...update: AddressUpdate) => boolean,
    private readonly limited: (reported: number, used: number) => void,
    private readonly isIdle: () => boolean,
    private readonly random: Random = systemRandom,
  ) {}

  /** Returns false if the policy rejected the update; true if the update was accepted, delayed, or skipped. */
  take(...update: AddressUpdate): boolean {
    if (this.isIdle()) {
      if (hasAddresses(update[0])) this.held = update;
      return true;
    }
    // The first addresses after an empty update are not delayed, because calls are waiting for them.
    const isUrgent = this.empty > 0 && hasAddresses(update[0]);
    const waitMs = this.dueAt - this.clock.now();
    // Delays an update that the resolver reports while another update is being applied.
    if (!this.isPassing && (waitMs <= 0 || isUrgent)) return this.pass(update);
    // An error does not replace addresses that were reported before.
    if (update[0].ok || this.held?.[0].ok !== true) this.held = update;
    this.timer ??= this.clock.setTimer(this.passHeld, waitMs);
    return true;
  }

  /** Reports that the policy no longer uses the addresses. The next `resume()` passes the latest ones. */
  released(): void {
    if (this.held === undefined || !hasAddresses(this.held[0])) this.held = this.latest;
    this.applied = undefined;
  }

  /** Passes the addresses that were kept while the channel was idle. */
  resume(): void {
    if (this.held !== undefined && hasAddresses(this.held[0])) this.pass(this.held);
  }

  stop(): void {
    this.timer?.clear();
    this.timer = undefined;
    this.held = undefined;
  }

  private pass(update: AddressUpdate): boolean {
    this.stop();
    const [endpoints, config, options, note] = update;
    // The order matters only to pick_first, which prefers the first addresses.
    const isOrdered = config.getLoadBalancerName() === 'pick_first';
    const keys = endpoints.ok && !isOrdered ? keysOf(endpoints.value) : undefined;
    if (keys !== undefined && keys === this.applied?.keys && isEqual(options, this.applied.options)) {
      this.empty = 0;
      return true;
    }
    if (hasAddresses(endpoints)) this.latest = update;
    const startedAt = this.clock.now();
    this.empty = hasAddresses(endpoints) ? 0 : this.empty + 1;
    this.dueAt = startedAt + updateIntervalMs(this.empty);
    this.isPassing = true;
    try {
      const used = endpoints.ok ? { ...endpoints, value: this.bounded(endpoints.value, isOrdered) } : endpoints;
      const accepted = this.apply(used, config, options, note);
      // An error does not change the addresses in use.
      if (endpoints.ok) this.applied = accepted && keys !== undefined ? { keys, options } : undefined;
      return accepted;
    } finally {
      this.isPassing = false;
      const now = this.clock.now();
      this.dueAt = Math.max(this.dueAt, now + pauseAfterUpdateMs(now - startedAt));
    }
  }

  private readonly passHeld = (): void => {
    this.timer = undefined;
    if (this.held === undefined || this.isIdle()) return;
    const waitMs = this.dueAt - this.clock.now();
    // Waits again if the last update took a long time and therefore moved `dueAt`.
    if (waitMs > 0) this.timer = this.clock.setTimer(this.passHeld, waitMs);
    else this.pass(this.held);
  };

  /**
   * Bounds the number of addresses. Keeps the endpoints of the previous selection, because a name server that changes the order each time
   * must not move the connections. Selects the rest at random (except under pick_first), because the other servers would receive no calls
   * if every client used the first addresses.
   */
  private bounded(endpoints: EndpointList, isOrdered: boolean): EndpointList {
    const reported = endpoints.reduce((count, { addresses }) => count + addresses.length, 0);
    if (reported <= MAX_ADDRESSES) return endpoints;
    // An endpoint that is reported twice is used once.
    const byKey = new Map<string, EndpointList[number]>();
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

/** True if the resolver found an address. */
export function hasAddresses(endpoints: AddressUpdate[0]): boolean {
  return endpoints.ok && endpoints.value.length > 0;
}

/**
 * Returns a key that is equal for equal sets of endpoints; `undefined` if there are no endpoints, or if an endpoint has properties other
 * than `addresses`.
 */
function keysOf(endpoints: EndpointList): string | undefined {
  if (endpoints.length === 0 || endpoints.some((endpoint) => Object.keys(endpoint).length > 1)) return undefined;
  return JSON.stringify(endpoints.map(({ addresses }) => JSON.stringify(addresses)).sort());
}

function isEqual(one: AddressUpdate[2], other: AddressUpdate[2]): boolean {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}
