import type { Attributes, BatchObservableCallback, Meter } from '@opentelemetry/api';
import { describe, expect, it } from 'vitest';
import { ObservedClients } from './client-metrics.js';

const figures = {
  openConnections: 0,
  waiting: 2,
  oldestWaitMs: 0,
  addresses: 0,
  oldestStreamMs: 0,
  adaptiveLimits: [],
  hedgingDelays: [],
};

/** Returns a function that adds a client, a function that collects the metrics of all clients, and the registered callbacks. */
function make() {
  const callbacks = new Set<BatchObservableCallback>();
  // Contains only the functions that the code under test uses.
  const meter = {
    addBatchObservableCallback: (callback: BatchObservableCallback) => callbacks.add(callback),
  } as unknown as Meter;
  const instrument = { addCallback: () => undefined, removeCallback: () => undefined };
  const others = {
    oldestWait: instrument,
    retryBudget: instrument,
    addresses: instrument,
    endpoints: instrument,
    watchFailing: instrument,
    oldestStream: instrument,
    concurrencyLimit: instrument,
    hedgingDelay: instrument,
  };
  const clients = new ObservedClients({ ...others, waitingCalls: { ...instrument } }, meter);
  const add = (name: string) => {
    const attributes: Attributes = { 'resilient_grpc.client': name };
    const client = { figures: () => ({ ...figures, retryBudget: { tokens: 5, maxTokens: 10 } }) };
    clients.add(attributes, client as never);
    return () => {
      clients.close(attributes);
    };
  };
  /** Collects once and returns the names of the observed clients. */
  const collect = async () => {
    const names = new Set<unknown>();
    const observe = (_: unknown, __: number, attributes: Attributes) => names.add(attributes['resilient_grpc.client']);
    for (const callback of callbacks) await callback({ observe });
    await Promise.resolve();
    return [...names];
  };
  return { add, collect, callbacks };
}

describe('ObservedClients', () => {
  it('observes all clients in one metrics callback, and observes a closed client once more', async () => {
    const { add, collect, callbacks } = make();
    const closeOne = add('one');
    const closeTwo = add('two');
    expect(callbacks.size).toBe(1);
    closeOne();
    expect(await collect()).toEqual(['one', 'two']);
    expect(await collect()).toEqual(['two']);
    closeTwo();
    expect(await collect()).toEqual(['two']);
    add('three');
    expect(await collect()).toEqual(['three']);
    expect(callbacks.size).toBe(1);
  });

  it('keeps at most 100 closed clients if metrics are not collected', async () => {
    const { add, collect } = make();
    for (let i = 0; i < 1_000; i++) add(`client ${i}`)();
    expect(await collect()).toEqual(Array.from({ length: 100 }, (_, i) => `client ${i + 900}`));
  });
});
