import type { GatewayEnd, GatewayProcess } from '../chaos/gateway-process.js';
import type { ContenderName } from '../contenders/contender.js';
import type { Order } from '../gen/orders.pb.js';
import { httpGet, type HttpEnd } from './http-request.js';

const READ_EVERY_MS = 20;
/** Orders the upstream has from the beginning. */
const READABLE_ORDERS = 100;

/** What became of the requests that a gateway was serving when it was asked to end. */
export interface ShutdownFigures {
  readonly name: ContenderName;
  /** Reads that were being served. */
  readonly unaryInFlight: number;
  /** Those of them that had no answer, or a wrong one. */
  readonly unaryFailed: number;
  /** Exports that ended with their last order. */
  readonly exportsWhole: number;
  /** Exports that broke off, so that their reader knows. */
  readonly exportsFailed: number;
  /** Exports that ended as if they were whole, and were not. */
  readonly exportsTruncated: number;
}

/** Where a contender stands that was shut down. */
export type ShutdownStanding = ShutdownFigures &
  Pick<GatewayEnd, 'exitMs' | 'killed' | 'feed' | 'openHandles' | 'clientsClosedMs'> & {
    /** From SIGTERM to the end of a gateway that had nothing to do. */
    readonly idleExitMs: number;
  };

interface Export {
  readonly until: string;
  readonly ended: Promise<HttpEnd>;
}

/** One gateway with requests of every kind. */
export class ShutdownTrial {
  private readonly reads = new Set<Promise<HttpEnd>>();
  private readonly exports: Export[] = [];
  private hung: Promise<HttpEnd> | undefined;
  private requestedCount = 0;

  constructor(
    readonly name: ContenderName,
    private readonly gateway: GatewayProcess,
  ) {}

  /** Requests that were made. */
  get requested(): number {
    return this.requestedCount;
  }

  /** A read whose answer will not come. */
  hang(): void {
    this.hung = this.get('orders/order-1');
  }

  /** An export of the log that ends with the order of the sequence `until`. */
  export(until: number): void {
    this.exports.push({
      until: String(until),
      ended: this.get(`export?until=${until}`),
    });
  }

  /** Reads at a steady rate for `lengthMs`; those that run then go on. */
  async read(lengthMs: number): Promise<void> {
    for (let leftMs = lengthMs, count = 0; leftMs > 0; leftMs -= READ_EVERY_MS, count++) {
      const read = this.get(`orders/order-${(count % READABLE_ORDERS) + 1}`);
      this.reads.add(read);
      void read.then(() => this.reads.delete(read));
      await new Promise((resolve) => setTimeout(resolve, READ_EVERY_MS));
    }
  }

  /** Asks the gateway to end, and says what became of what it was serving. */
  async terminate(limitMs: number): Promise<ShutdownFigures & GatewayEnd> {
    const inFlight = [...this.reads];
    const end = await this.gateway.terminate(limitMs);
    await this.hung;
    const reads = await Promise.all(inFlight);
    const exports = await Promise.all(this.exports.map(async ({ until, ended }) => outcomeOf(await ended, until)));
    const count = (outcome: string): number => exports.filter((one) => one === outcome).length;
    return {
      ...end,
      name: this.name,
      unaryInFlight: reads.length,
      unaryFailed: reads.filter(({ status }) => status !== 200).length,
      exportsWhole: count('whole'),
      exportsFailed: count('failed'),
      exportsTruncated: count('truncated'),
    };
  }

  private get(path: string): Promise<HttpEnd> {
    this.requestedCount += 1;
    return httpGet(`${this.gateway.url}/${path}`);
  }
}

function outcomeOf({ status, body }: HttpEnd, until: string): 'whole' | 'failed' | 'truncated' {
  if (status !== 200) return 'failed';
  const last = body.trimEnd().split('\n').at(-1) ?? '';
  // True: the gateway writes one order a line.
  return last !== '' && (JSON.parse(last) as Order).sequence === until ? 'whole' : 'truncated';
}
