import type { WatchFigures } from '../call/call-telemetry.js';
import type { EndpointWatchSnapshot, ResolutionSnapshot } from '../call/connectivity.js';
import type { EventHub } from '../call/event-hub.js';
import { CONNECT_FAILURES } from '../policy/connect-failure/connect-failures.js';
import { moment, type Clock } from '../time/clock.js';
import type { AddressHistories } from './connection/address-histories.js';
import type { ConnectFailure } from './connection/connect-failure.js';

/**
 * Time in milliseconds for which attempts to connect to an endpoint must fail before it is reported as unreachable. A resolver usually
 * removes the address of a stopped server within this time.
 */
const UNREACHABLE_AFTER_MS = 60_000;

/** The addresses that a channel uses, and the result of its last lookup. Emits events for changes and failures. */
export class ResolvedAddresses {
  private used: ReadonlySet<string> = new Set();
  private hasUsed = false;
  /** Start of the failures, in monotonic milliseconds, by the address of each endpoint in use that was reported as unreachable. */
  private readonly unreachable = new Map<string, number>();
  /** End of the last lookup in milliseconds since 1970; `undefined` before the first lookup ends. */
  private lastLookupAt: number | undefined;
  private failing = false;
  private watch: EndpointWatchSnapshot | undefined;
  /** Monotonic time at which the watch began to fail; `undefined` if the watch is not failing. */
  private watchFailingSince: number | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly events: EventHub,
  ) {}

  get count(): number {
    return this.used.size;
  }

  /**
   * Records the result of a lookup. `ok` is false if the lookup failed or found no address. `isError` is true only if it failed; earlier
   * addresses then stay in use.
   */
  lookupEnded(ok: boolean, isError: boolean): void {
    this.lastLookupAt = this.clock.epoch();
    const { failing, used, events } = this;
    this.failing = !ok;
    // If there are no earlier addresses, a failed lookup is reported as a failed attempt to connect.
    if (!isError || failing || used.size === 0) return;
    if (events.wanted) events.emit({ type: 'lookup-failed', addresses: used.size });
  }

  use(addresses: readonly string[]): void {
    const { used, events } = this;
    const next = new Set(addresses);
    const isFirst = !this.hasUsed;
    this.used = next;
    this.hasUsed ||= next.size > 0;
    for (const address of this.unreachable.keys()) if (!next.has(address)) this.unreachable.delete(address);
    if (isFirst || !events.wanted) return;
    const added = [...next].filter((address) => !used.has(address));
    const removed = [...used].filter((address) => !next.has(address));
    if (added.length === 0 && removed.length === 0) return;
    events.emit({ type: 'addresses-changed', added, removed, total: next.size });
  }

  /**
   * Reports the endpoint at `address` as unreachable if attempts to connect to it have failed for a minute. Called after each failed
   * attempt while the channel is READY. Other endpoints then receive the calls of this endpoint, so no outage begins and no call fails, but
   * the capacity is lower.
   */
  connectFailed(
    { kind, message: cause }: ConnectFailure,
    address = '',
    histories: Pick<AddressHistories, 'failingMs'>,
  ) {
    const { used, unreachable, events, clock } = this;
    if (!used.has(address) || unreachable.has(address)) return;
    const failedMs = histories.failingMs(address) ?? 0;
    if (failedMs < UNREACHABLE_AFTER_MS) return;
    unreachable.set(address, clock.now() - failedMs);
    const { remedy } = CONNECT_FAILURES[kind];
    if (events.wanted) events.emit({ type: 'reachability', change: 'lost', address, cause, remedy, failedMs });
  }

  /** Reports that the endpoint at `address` is connected again if it was reported as unreachable. Called after each new connection. */
  connected(address: string): void {
    const { unreachable, events, clock } = this;
    const since = unreachable.get(address);
    if (since === undefined) return;
    unreachable.delete(address);
    if (events.wanted) {
      events.emit({ type: 'reachability', change: 'restored', address, failedMs: clock.now() - since });
    }
  }

  watchChanged(watch: EndpointWatchSnapshot): void {
    const { watchFailingSince: failingSince, events, used, clock } = this;
    const { state, error: cause = '', remedy } = watch;
    this.watch = watch;
    this.watchFailingSince = state === 'failing' ? (failingSince ?? clock.now()) : undefined;
    if (!events.wanted) return;
    if (state === 'failing' && failingSince === undefined) {
      const remedyField = remedy === undefined ? {} : { remedy };
      events.emit({ type: 'endpoint-watch', change: 'failed', cause, ...remedyField, addresses: used.size });
    } else if (state === 'watching' && failingSince !== undefined) {
      events.emit({ type: 'endpoint-watch', change: 'restored', failedMs: clock.now() - failingSince });
    }
  }

  get watchFigures(): WatchFigures | undefined {
    const { watch, watchFailingSince: failingSince, clock } = this;
    if (watch === undefined) return undefined;
    const { ready = 0, notReady = 0, terminating = 0 } = watch.endpoints ?? {};
    return { failingMs: failingSince === undefined ? 0 : clock.now() - failingSince, ready, notReady, terminating };
  }

  describe(nextLookupAt: number | undefined): ResolutionSnapshot {
    const { used, failing, lastLookupAt, watch } = this;
    return {
      addresses: used.size,
      failing,
      ...(lastLookupAt === undefined ? {} : { lastLookupAt: moment(lastLookupAt).toISOString() }),
      ...(nextLookupAt === undefined ? {} : { nextLookupAt: moment(nextLookupAt).toISOString() }),
      ...(watch === undefined ? {} : { watch }),
    };
  }
}
