import { CallLoad, quantile } from '../../support/call-load.js';
import type { OrdersOf } from '../../support/orders-app.js';
import type { Measured, Run } from './situation.js';

/** Reads, which are safe to repeat, at a steady rate until the end of the play, or earlier. */
export function reads(run: Run, { orders }: OrdersOf, perSecond: number): CallLoad {
  return begin(run, perSecond, (number) => orders.get({ id: String(number) }));
}

/** Writes, which are not, each of them once. */
export function writes(run: Run, { orders }: OrdersOf, perSecond: number): CallLoad {
  return begin(run, perSecond, (number) => orders.create({ requestId: String(number), item: 'tea', quantity: 1 }));
}

/** What the callers of `load` got. */
export function figuresOf(load: CallLoad, name: string): Measured {
  const latencies = load.succeeded.map(({ latencyMs }) => latencyMs ?? NaN);
  const [failure] = load.failed;
  return {
    [name]: load.calls.length,
    [`${name} failed`]: load.failed.length,
    ...(failure && { [`${name}, first failure`]: String(failure.error) }),
    [`${name} p50 ms`]: quantile(latencies, 0.5),
    [`${name} p99 ms`]: quantile(latencies, 0.99),
  };
}

function begin(run: Run, perSecond: number, make: Parameters<typeof CallLoad.start>[1]): CallLoad {
  const load = CallLoad.start(perSecond, make);
  run.onEnd(() => load.stop());
  return load;
}
