import type { Clock } from '../../time/clock.js';
import type { AddressUpdate, EndpointList } from './address-updates.js';

/**
 * Passes the endpoints of a name to a load-balancing policy. If an update contains endpoints, but none of them is usable (READY and
 * serving), the usable endpoints that the update removes stay in use. They are released when a new endpoint becomes usable, or when all
 * removed endpoints have become unusable. Without this rule, a wrong DNS record would cause an outage while working connections are open.
 * pick_first keeps its connection in the same way.
 */
export class EndpointHandover {
  /** Endpoints that the policy uses. */
  private used: EndpointList = [];
  /** Endpoints that the resolver removed and the policy still uses. */
  private kept: EndpointList = [];
  /** Latest update, without `kept`; `undefined` if no endpoint is kept. */
  private pending: AddressUpdate | undefined;
  private isScheduled = false;

  /**
   * @param isUsable true if a connection to an address of the endpoint is READY, and the endpoint is serving
   * @param apply returns false if the policy cannot use the update
   */
  constructor(
    private readonly clock: Clock,
    private readonly isUsable: (endpoint: EndpointList[number]) => boolean,
    private readonly apply: (...update: AddressUpdate) => boolean,
  ) {}

  take(...update: AddressUpdate): boolean {
    const [endpoints, config, ...others] = update;
    if (!endpoints.ok) return this.apply(...update);
    const next = endpoints.value;
    const isCovered =
      next.length === 0 || config.getLoadBalancerName() === 'pick_first' || next.some((one) => this.isUsable(one));
    this.kept = isCovered ? [] : this.used.filter(this.isUsable);
    this.pending = this.kept.length > 0 ? update : undefined;
    this.used = [...next, ...this.kept];
    return this.apply({ ...endpoints, value: this.used }, config, ...others);
  }

  /** Handles a change in a connection's state or in its endpoint's health. */
  endpointChanged(): void {
    if (this.pending === undefined || this.isScheduled) return;
    this.isScheduled = true;
    // Deferred, because the policy may still be handling the change.
    this.clock.defer(this.reconsider);
  }

  stop(): void {
    this.pending = undefined;
  }

  private readonly reconsider = (): void => {
    this.isScheduled = false;
    const { pending, kept } = this;
    if (pending?.[0].ok !== true) return;
    if (pending[0].value.some(this.isUsable) || !kept.some(this.isUsable)) this.take(...pending);
  };
}
