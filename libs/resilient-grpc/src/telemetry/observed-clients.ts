import type { Attributes, BatchObservableCallback, Meter } from '@opentelemetry/api';
import type { ClientFigures } from '../call/call-telemetry.js';
import type { ObservedInstruments } from './client-instruments.js';
import { methodName } from './instruments.js';
import type { ObservableClient } from './grpc-telemetry.js';

/**
 * Maximum number of closed clients kept for a last observation. Older clients are dropped, because a process that never collects metrics
 * would otherwise keep them forever.
 */
const MAX_CLOSED_CLIENTS = 100;

/** Observes the gauges of all clients of one meter whenever the SDK collects metrics. */
export class ObservedClients {
  private readonly open = new Map<Attributes, ObservableClient>();
  /** The final gauge values of closed clients. They are observed once more, because the SDK keeps reporting the last observed value. */
  private readonly closed = new Map<Attributes, ClientFigures>();
  private isObserving = false;

  constructor(
    private readonly instruments: ObservedInstruments,
    private readonly meter: Meter,
  ) {}

  add(attributes: Attributes, client: ObservableClient): void {
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
    if (this.closed.size <= MAX_CLOSED_CLIENTS) return;
    const [oldest] = this.closed.keys();
    if (oldest !== undefined) this.closed.delete(oldest);
  }

  private get observables() {
    const { waitingCalls, oldestWait, retryBudget, addresses, endpoints, watchFailing, oldestStream } =
      this.instruments;
    const { concurrencyLimit, hedgingDelay } = this.instruments;
    const channelInstruments = [
      waitingCalls,
      oldestWait,
      retryBudget,
      addresses,
      endpoints,
      watchFailing,
      oldestStream,
    ];
    return [...channelInstruments, concurrencyLimit, hedgingDelay];
  }

  private readonly observe: BatchObservableCallback = (result) => {
    const { waitingCalls, oldestWait, retryBudget, addresses, endpoints, watchFailing, oldestStream } =
      this.instruments;
    const { concurrencyLimit, hedgingDelay } = this.instruments;
    const observe = (attributes: Attributes, figures: ClientFigures): void => {
      const { waiting, oldestWaitMs, retryBudget: budget, oldestStreamMs, watch } = figures;
      result.observe(waitingCalls, waiting, attributes);
      result.observe(oldestWait, oldestWaitMs / 1_000, attributes);
      result.observe(retryBudget, budget.tokens / budget.maxTokens, attributes);
      result.observe(addresses, figures.addresses, attributes);
      result.observe(oldestStream, oldestStreamMs / 1_000, attributes);
      for (const { path, maxConcurrent } of figures.adaptiveLimits) {
        const scope = path === undefined ? attributes : { ...attributes, 'grpc.method': methodName(path) };
        result.observe(concurrencyLimit, maxConcurrent, scope);
      }
      for (const { path, delayMs } of figures.hedgingDelays) {
        if (delayMs === undefined) continue;
        result.observe(hedgingDelay, delayMs / 1_000, { ...attributes, 'grpc.method': methodName(path) });
      }
      if (watch === undefined) return;
      result.observe(watchFailing, watch.failingMs / 1_000, attributes);
      const { ready, notReady, terminating } = watch;
      for (const [condition, count] of Object.entries({ ready, 'not-ready': notReady, terminating }))
        result.observe(endpoints, count, { ...attributes, 'resilient_grpc.condition': condition });
    };
    // Closed clients come first, because a new client with the same attributes must overwrite their values.
    for (const [attributes, figures] of this.closed) observe(attributes, figures);
    this.closed.clear();
    for (const [attributes, client] of this.open) observe(attributes, client.figures());
    // Deferred, because the SDK is still iterating over its callbacks.
    if (this.open.size === 0) queueMicrotask(this.stopObserving);
  };

  private readonly stopObserving = (): void => {
    if (this.open.size > 0 || this.closed.size > 0) return;
    this.isObserving = false;
    this.meter.removeBatchObservableCallback(this.observe, this.observables);
  };
}
