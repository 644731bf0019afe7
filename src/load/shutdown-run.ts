import { get } from 'node:http';
import type { GatewayEnd, GatewayProcess } from '../chaos/gateway-process.js';
import type { ContenderName } from '../contenders/contender.js';
import type { Order } from '../gen/orders.pb.js';

const READ_INTERVAL_MS = 20;
/** Number of orders that the upstream has from the start. */
const READABLE_ORDERS = 100;

/** The outcome of the requests that a gateway was serving at SIGTERM. */
export interface ShutdownFigures {
  readonly name: ContenderName;
  /** Number of reads in flight at SIGTERM, except the read that hangs. */
  readonly unaryInFlight: number;
  /** Number of these reads that received an error or no response. */
  readonly unaryFailed: number;
  /** Number of exports that ended with their last order. */
  readonly completeExports: number;
  /** Number of exports that failed in a way that the reader can detect. */
  readonly exportsFailed: number;
  /** Number of exports that ended like complete ones but were incomplete. */
  readonly exportsTruncated: number;
}

/** The figures of a contender that was shut down. */
export type ShutdownResult = ShutdownFigures &
  Pick<GatewayEnd, 'exitMs' | 'killed' | 'feed' | 'openHandles' | 'clientsClosedMs'> & {
    /** Time from SIGTERM to the exit of an idle gateway. */
    readonly idleExitMs: number;
  };

/** The end of an HTTP request. */
interface HttpEnd {
  /** HTTP status; `undefined` if the connection was lost before the end of the response. */
  readonly status: number | undefined;
  /** The received part of the response. */
  readonly body: string;
}

interface Export {
  readonly until: string;
  readonly ended: Promise<HttpEnd>;
}

/** Sends requests of all kinds to one gateway. */
export class ShutdownRun {
  private readonly reads = new Set<Promise<HttpEnd>>();
  private readonly exports: Export[] = [];
  private hung: Promise<HttpEnd> | undefined;
  private requestedCount = 0;

  constructor(
    readonly name: ContenderName,
    private readonly gateway: GatewayProcess,
  ) {}

  /** Number of requests sent. */
  get requested(): number {
    return this.requestedCount;
  }

  /** Sends a read. The caller ensures that the upstream does not respond to it. */
  hang(): void {
    this.hung = this.get('orders/order-1');
  }

  /** Starts an export of the log up to and including the order with sequence `until`. */
  export(until: number): void {
    this.exports.push({
      until: String(until),
      ended: this.get(`export?until=${until}`),
    });
  }

  /** Sends reads at a steady rate for `lengthMs`. Reads that are in flight at the end continue. */
  async read(lengthMs: number): Promise<void> {
    for (let leftMs = lengthMs, count = 0; leftMs > 0; leftMs -= READ_INTERVAL_MS, count++) {
      const read = this.get(`orders/order-${(count % READABLE_ORDERS) + 1}`);
      this.reads.add(read);
      void read.then(() => this.reads.delete(read));
      await new Promise((resolve) => setTimeout(resolve, READ_INTERVAL_MS));
    }
  }

  /** Terminates the gateway and returns the outcome of its requests. */
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
      completeExports: count('whole'),
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
  // Safe cast: the gateway writes one order per line.
  return last !== '' && (JSON.parse(last) as Order).sequence === until ? 'whole' : 'truncated';
}

/** Sends a GET on a separate connection, because a keep-alive connection would delay the shutdown of Nest's server. */
function httpGet(url: string): Promise<HttpEnd> {
  return new Promise((resolve) => {
    let body = '';
    const lost = (): void => resolve({ status: undefined, body });
    get(url, { agent: false }, (response) => {
      response.setEncoding('utf8');
      response.on('data', (text: string) => (body += text));
      response.once('end', () => resolve({ status: response.statusCode, body }));
      // 'close' is also emitted after 'end', but then it has no effect.
      response.once('close', lost);
      response.on('error', lost);
    }).on('error', lost);
  });
}
