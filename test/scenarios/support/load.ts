import type { Observable } from 'rxjs';
import { CallLoad, quantile } from '../../support/call-load.js';
import type { OrdersOf } from '../../support/orders-app.js';
import type { Measured, Run } from './scenario.js';

/** Starts calls at a steady rate until the end of the run or `stop`; at most `maxOpen` run at the same time. */
export function load(
  run: Run,
  perSecond: number,
  make: (number: number) => Observable<unknown>,
  maxOpen = Infinity,
): CallLoad {
  const calls = CallLoad.start(perSecond, make, maxOpen);
  run.onEnd(() => calls.stop());
  return calls;
}

/** Stops starting calls, and resolves when the last open call has ended. Waits for up to 90 s, because calls end late on a busy machine. */
export function stop(calls: CallLoad): Promise<void> {
  return calls.stop(90_000);
}

/** Starts reads, which are safe to repeat. */
export function reads(run: Run, { orders }: OrdersOf, perSecond: number, maxOpen?: number): CallLoad {
  return load(run, perSecond, (number) => orders.get({ id: String(number) }), maxOpen);
}

/** Starts writes, which are not safe to repeat, each with its own ID. */
export function writes(run: Run, { orders }: OrdersOf, perSecond: number, maxOpen?: number): CallLoad {
  const create = (number: number) => orders.create({ requestId: String(number), item: 'tea', quantity: 1 });
  return load(run, perSecond, create, maxOpen);
}

/** Results of the calls as figures. */
export function figuresOf(calls: CallLoad, name: string): Measured {
  const latencies = latenciesOf(calls);
  const [failure] = calls.failed;
  return {
    [name]: calls.calls.length,
    [`${name} failed`]: calls.failed.length,
    ...(failure && { [`${name}, first failure`]: String(failure.error) }),
    [`${name} p50 ms`]: quantile(latencies, 0.5),
    [`${name} p99 ms`]: quantile(latencies, 0.99),
  };
}

/** Latencies of the successful calls. */
export function latenciesOf(calls: CallLoad): readonly number[] {
  return calls.succeeded.map(({ latencyMs }) => latencyMs ?? NaN);
}
