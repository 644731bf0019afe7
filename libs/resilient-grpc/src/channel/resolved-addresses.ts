import type { ResolutionSnapshot } from '../call/connectivity.js';
import type { EventHub } from '../call/event-hub.js';
import { moment, type Clock } from '../time/clock.js';

/** The addresses that a channel uses, and the result of its last lookup. Emits an event for each change. */
export class ResolvedAddresses {
  private used: ReadonlySet<string> = new Set();
  /** Milliseconds since 1970. */
  private lastLookupAt: number | undefined;
  private failing = false;

  constructor(
    private readonly clock: Clock,
    private readonly events: EventHub,
  ) {}

  get count(): number {
    return this.used.size;
  }

  lookupEnded(ok: boolean): void {
    this.lastLookupAt = this.clock.epoch();
    const { failing, used, events } = this;
    this.failing = !ok;
    // Without earlier addresses, the failure is a failed attempt to connect.
    if (ok || failing || used.size === 0) return;
    if (events.wanted) events.emit({ type: 'lookup-failed', addresses: used.size });
  }

  use(addresses: readonly string[]): void {
    const { used, events } = this;
    const next = new Set(addresses);
    if (next.size === 0) return;
    this.used = next;
    if (used.size === 0 || !events.wanted) return;
    const added = [...next].filter((address) => !used.has(address));
    const removed = [...used].filter((address) => !next.has(address));
    if (added.length === 0 && removed.length === 0) return;
    events.emit({ type: 'addresses-changed', added, removed, total: next.size });
  }

  describe(nextLookupAt: number | undefined): ResolutionSnapshot {
    const { used, failing, lastLookupAt } = this;
    return {
      addresses: used.size,
      failing,
      ...(lastLookupAt === undefined ? {} : { lastLookupAt: moment(lastLookupAt).toISOString() }),
      ...(nextLookupAt === undefined ? {} : { nextLookupAt: moment(nextLookupAt).toISOString() }),
    };
  }
}
