import { EndpointLoad, type MeasuredOutcome } from '../../policy/balancing/least-request.js';
import type { Clock } from '../../time/clock.js';
import type { Random } from '../../time/random.js';

/** Loads of the endpoints of one channel, by address. The loads are kept when grpc-js recreates the load-balancing policy after
 * an idle period. */
export class EndpointLoads {
  private readonly loads = new Map<string, EndpointLoad>();

  constructor(
    readonly clock: Clock,
    readonly random: Random,
  ) {}

  of(addresses: readonly string[]): EndpointLoad {
    const known = addresses.map((address) => this.loads.get(address)).find((load) => load !== undefined);
    const load = known ?? new EndpointLoad();
    for (const address of addresses) this.loads.set(address, load);
    return load;
  }

  /** Removes the loads of addresses that are not in `addresses`. */
  keep(addresses: ReadonlySet<string>): void {
    for (const address of this.loads.keys()) if (!addresses.has(address)) this.loads.delete(address);
  }

  /** Adds the latency of a unary attempt on the connection to `address`. */
  measured(address: string, latencyMs: number, outcome: MeasuredOutcome): void {
    this.loads.get(address)?.measured(latencyMs, outcome, this.clock.now());
  }

  /** Hides the fields, because grpc-js writes channel options as JSON when it traces. */
  toJSON(): object {
    return {};
  }
}
