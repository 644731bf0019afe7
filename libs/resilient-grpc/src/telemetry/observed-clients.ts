import type { Attributes, BatchObservableCallback, Meter } from '@opentelemetry/api';
import type { ClientFigures } from '../call/call-telemetry.js';
import type { ObservedInstruments } from './client-instruments.js';
import type { TellingClient } from './grpc-telemetry.js';

/** Closed clients that wait to be collected. More have no last word: a process without a collection would keep them for ever. */
const KEPT_CLOSED = 100;

/** What is looked at of all clients of one meter when metrics are collected. */
export class ObservedClients {
  private readonly open = new Map<Attributes, TellingClient>();
  /** As they were when they closed. Observed once more, as the SDK gives for ever what it was given last. */
  private readonly closed = new Map<Attributes, ClientFigures>();
  private isObserving = false;

  constructor(
    private readonly instruments: ObservedInstruments,
    private readonly meter: Meter,
  ) {}

  add(attributes: Attributes, client: TellingClient): void {
    this.open.set(attributes, client);
    if (this.isObserving) return;
    this.isObserving = true;
    this.meter.addBatchObservableCallback(this.observe, this.observables);
  }

  close(attributes: Attributes): void {
    const client = this.open.get(attributes);
    if (client === undefined) return;
    this.open.delete(attributes);
    this.closed.set(attributes, client.figures());
    if (this.closed.size <= KEPT_CLOSED) return;
    const [oldest] = this.closed.keys();
    if (oldest !== undefined) this.closed.delete(oldest);
  }

  private get observables() {
    const { waitingCalls, oldestWait, retryBudget, oldestStream } = this.instruments;
    return [waitingCalls, oldestWait, retryBudget, oldestStream];
  }

  private readonly observe: BatchObservableCallback = (result) => {
    const { waitingCalls, oldestWait, retryBudget, oldestStream } = this.instruments;
    const tell = (attributes: Attributes, figures: ClientFigures): void => {
      const { waiting, oldestWaitMs, retryBudget: budget, oldestStreamMs } = figures;
      result.observe(waitingCalls, waiting, attributes);
      result.observe(oldestWait, oldestWaitMs / 1_000, attributes);
      result.observe(retryBudget, budget.tokens / budget.maxTokens, attributes);
      result.observe(oldestStream, oldestStreamMs / 1_000, attributes);
    };
    // First: another of the same name may have taken its place.
    for (const [attributes, figures] of this.closed) tell(attributes, figures);
    this.closed.clear();
    for (const [attributes, client] of this.open) tell(attributes, client.figures());
    // Not while all callbacks are asked.
    if (this.open.size === 0) queueMicrotask(this.leave);
  };

  private readonly leave = (): void => {
    if (this.open.size > 0 || this.closed.size > 0) return;
    this.isObserving = false;
    this.meter.removeBatchObservableCallback(this.observe, this.observables);
  };
}
