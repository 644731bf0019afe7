import { randomUUID } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import type { Contender } from '../contenders/contender.js';
import { epochMs } from '../epoch.js';
import type { CallKind, Measurement } from './measurement.js';
import type { WriteLedger } from './write-ledger.js';

/** Calls per second of each contender. */
export interface CallRate {
  readonly reads: number;
  readonly writes: number;
}

/**
 * Returns the number of calls that are due within `elapsedMs` milliseconds at a rate of `perSecond`. The load is an open loop: like the
 * arrival of users, it does not depend on earlier calls, so slow responses do not lower it.
 */
export function callsDue(perSecond: number, elapsedMs: number): number {
  return Math.floor((perSecond * elapsedMs) / 1_000);
}

/** Number of orders that the upstream has from the start. */
const READABLE_ORDERS = 100;
const TICK_MS = 5;

/** A contender and its measurements. */
export interface Entrant {
  readonly contender: Contender;
  readonly measurement: Measurement;
  readonly ledger: WriteLedger;
}

/** Generates the same load for all entrants. */
export class Load {
  private readonly issued: Record<CallKind, number> = { read: 0, write: 0 };
  private readonly open = new Set<object>();
  // Makes request ids unique among several loads that share a log.
  private readonly id = randomUUID();
  private ticking: NodeJS.Timeout | undefined;

  constructor(private readonly entrants: readonly Entrant[]) {}

  /** Starts calls through each entrant at this rate, until {@link stop}. */
  start(rate: CallRate): void {
    if (this.ticking !== undefined) return;
    const startedAtMs = epochMs();
    let reads = 0;
    let writes = 0;
    this.ticking = setInterval(() => {
      const elapsedMs = epochMs() - startedAtMs;
      for (; reads < callsDue(rate.reads, elapsedMs); reads++) this.callEach('read');
      for (; writes < callsDue(rate.writes, elapsedMs); writes++) this.callEach('write');
    }, TICK_MS);
  }

  /** Stops starting calls. Open calls continue. */
  stop(): void {
    clearInterval(this.ticking);
    this.ticking = undefined;
  }

  /** Starts one call through each entrant. */
  callEach(kind: CallKind): void {
    const number = ++this.issued[kind];
    for (const entrant of this.entrants) this.call(entrant, kind, number);
  }

  /** Resolves when no call is open, or after `timeoutMs`. */
  async settled(timeoutMs: number): Promise<void> {
    const untilMs = epochMs() + timeoutMs;
    while (this.open.size > 0 && epochMs() < untilMs) await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }

  private call({ contender, measurement, ledger }: Entrant, kind: CallKind, number: number): void {
    const requestId = `${contender.name}/${this.id}/${number}`;
    const call = measurement.begin(kind, epochMs());
    this.open.add(call);
    const calling =
      kind === 'read'
        ? contender.get(`order-${(number % READABLE_ORDERS) + 1}`)
        : contender.create({ requestId, item: 'tea', quantity: 1 });
    let answered = false;
    calling.subscribe({
      next: () => (answered = true),
      complete: () => {
        this.open.delete(call);
        // A successful call without a response counts as failed.
        if (!answered) return measurement.fail(call, epochMs(), { codeName: 'NO_ANSWER', lostInFlight: false });
        if (kind === 'write') ledger.acknowledge(requestId);
        measurement.succeed(call, epochMs());
      },
      error: (error: unknown) => {
        this.open.delete(call);
        measurement.fail(call, epochMs(), { codeName: codeName(error), lostInFlight: contender.lostInFlight(error) });
      },
    });
  }
}

/** Returns the name of an error's gRPC status; the name of the error if it has no status; 'UNKNOWN' for other values. */
function codeName(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  if (typeof code === 'number') return status[code] ?? String(code);
  return error instanceof Error ? error.name : 'UNKNOWN';
}
