import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { GATEWAY_ORDERS, type GatewayOrders } from './gateway-orders.js';
import type { GatewayReport } from './messages.js';

/** Token of the boolean that enables background work. */
export const BUSY = Symbol('busy');

/** The background work of the gateway. */
@Injectable()
export class Background implements OnApplicationBootstrap {
  feed: GatewayReport['feed'] = 'none';
  /** Resolves when the upstream has responded. */
  readonly started: Promise<void>;
  private onStarted: () => void = () => undefined;

  /** @param busy true if the gateway does background work; if false, it makes only one call */
  constructor(
    @Inject(GATEWAY_ORDERS) private readonly orders: GatewayOrders,
    @Inject(BUSY) private readonly busy: boolean,
  ) {
    this.started = new Promise((resolve) => (this.onStarted = resolve));
  }

  onApplicationBootstrap(): void {
    if (!this.busy) {
      // Makes one call, which opens the connection.
      this.orders.get('order-1').subscribe(() => this.onStarted());
      return;
    }
    this.feed = 'running';
    this.orders.feed('0').subscribe({
      next: () => this.onStarted(),
      error: () => (this.feed = 'failed'),
      complete: () => (this.feed = 'completed'),
    });
    this.orders.getWhenThere('no-such-order').subscribe({ error: () => undefined });
  }
}
