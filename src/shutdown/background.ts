import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { GATEWAY_ORDERS, type GatewayOrders } from './gateway-orders.js';
import type { GatewayReport } from './messages.js';

/** Token of whether the gateway has background work. */
export const BUSY = Symbol('busy');

/** What the gateway does besides answering requests. */
@Injectable()
export class Background implements OnApplicationBootstrap {
  feed: GatewayReport['feed'] = 'none';
  /** Resolves when the upstream has answered. */
  readonly started: Promise<void>;
  private onStarted: () => void = () => undefined;

  /** `busy`: there is something to do. */
  constructor(
    @Inject(GATEWAY_ORDERS) private readonly orders: GatewayOrders,
    @Inject(BUSY) private readonly busy: boolean,
  ) {
    this.started = new Promise((resolve) => (this.onStarted = resolve));
  }

  onApplicationBootstrap(): void {
    if (!this.busy) {
      // Nothing to do, but connected.
      this.orders.get('order-1').subscribe(() => this.onStarted());
      return;
    }
    this.feed = 'running';
    this.orders.feed('0').subscribe({
      next: () => this.onStarted(),
      error: () => (this.feed = 'failed'),
      complete: () => (this.feed = 'completed'),
    });
    this.orders.getWhenThere('not there').subscribe({ error: () => undefined });
  }
}
