import type { GrpcClientEvent } from 'nestjs-resilient-grpc';
import type { OrdersOf } from '../../support/orders-app.js';

/** Start times of a client's ended calls in milliseconds since 1970, grouped by the server of their last attempt. */
export class CallStarts {
  private readonly times = new Map<string, number[]>();

  constructor({ client }: OrdersOf) {
    client.events$.subscribe((event: GrpcClientEvent) => {
      if (event.type !== 'call-end' || event.end.peer === undefined) return;
      const times = this.times.get(event.end.peer) ?? [];
      this.times.set(event.end.peer, times);
      times.push(event.at - event.end.durationMs);
    });
  }

  /** Start times of the calls that ended on the server at `url`, in the order in which they ended. */
  on(url: string): readonly number[] {
    return this.times.get(url) ?? [];
  }

  /** Fraction, 0 to 1, of the calls started from `from` (inclusive) to `until` (exclusive) that ended on the server at `url`. */
  share(url: string, from: number, until: number): number {
    const within = (times: readonly number[]) => times.filter((at) => at >= from && at < until).length;
    const all = [...this.times.values()].reduce((sum, times) => sum + within(times), 0);
    return within(this.on(url)) / all;
  }
}
