import type { Clock } from '../../time/clock.js';
import type { EventFields } from './log-line.js';
import { duration, oneLine } from './log-text.js';

/**
 * Time in milliseconds for which attempts to connect to an endpoint must fail before a warning is logged. A resolver usually removes the
 * address of a stopped server within this time.
 */
const UNREACHABLE_AFTER_MS = 60_000;

interface Endpoint {
  /** Number of open connections. */
  open: number;
  /** Time of the first failure since the endpoint was last connected; `undefined` if no attempt to connect has failed since. */
  failingSince: number | undefined;
  isLogged: boolean;
}

/**
 * Logs endpoints that cannot be reached while the channel is READY. Other endpoints then receive their calls, so no outage starts and no
 * call fails, but the capacity is lower.
 */
export class UnreachableEndpoints {
  private readonly endpoints = new Map<string, Endpoint>();

  constructor(
    private readonly write: (level: 'log' | 'warn', text: string, fields: EventFields) => void,
    private readonly remedy: string,
    private readonly clock: Clock,
  ) {}

  connected(address: string): void {
    const endpoint = this.endpoint(address);
    endpoint.open += 1;
    const { failingSince, isLogged } = endpoint;
    endpoint.failingSince = undefined;
    endpoint.isLogged = false;
    if (!isLogged || failingSince === undefined) return;
    const failedMs = Math.round(this.clock.now() - failingSince);
    this.write('log', `endpoint ${address} is connected again after ${duration(failedMs)}`, {
      event: 'endpoint',
      change: 'reachable',
      address,
      failedMs,
    });
  }

  disconnected(address: string): void {
    const endpoint = this.endpoints.get(address);
    if (endpoint === undefined) return;
    endpoint.open -= 1;
    if (endpoint.open === 0 && endpoint.failingSince === undefined) this.endpoints.delete(address);
  }

  /** Records a failed attempt to connect to `address` while the channel is READY. */
  failed(address: string, cause: string): void {
    const endpoint = this.endpoint(address);
    // A further connection to a connected endpoint failed.
    if (endpoint.open > 0) return;
    endpoint.failingSince ??= this.clock.now();
    const failedMs = Math.round(this.clock.now() - endpoint.failingSince);
    if (endpoint.isLogged || failedMs < UNREACHABLE_AFTER_MS) return;
    endpoint.isLogged = true;
    const why = oneLine(cause);
    this.write(
      'warn',
      `endpoint ${address} unreachable for ${duration(failedMs)}: ${why}; calls use the other endpoints; ${this.remedy}`,
      { event: 'endpoint', change: 'unreachable', address, cause: why, failedMs },
    );
  }

  /** Forgets the failures of all endpoints. Called when the channel stops being READY: it is idle then, or the outage is logged. */
  forgetFailures(): void {
    for (const [address, endpoint] of this.endpoints) this.clear(address, endpoint);
  }

  /** Forgets the failures of addresses that the name no longer resolves to. */
  removed(addresses: readonly string[]): void {
    for (const address of addresses) {
      const endpoint = this.endpoints.get(address);
      if (endpoint !== undefined) this.clear(address, endpoint);
    }
  }

  private clear(address: string, endpoint: Endpoint): void {
    endpoint.failingSince = undefined;
    endpoint.isLogged = false;
    if (endpoint.open === 0) this.endpoints.delete(address);
  }

  private endpoint(address: string): Endpoint {
    let endpoint = this.endpoints.get(address);
    if (endpoint === undefined) {
      endpoint = { open: 0, failingSince: undefined, isLogged: false };
      this.endpoints.set(address, endpoint);
    }
    return endpoint;
  }
}
