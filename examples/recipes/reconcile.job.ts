// #region all
import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { Cron } from '@nestjs/schedule';
import { InjectGrpcService, isGrpcCallError, type Resilient } from 'nestjs-resilient-grpc';
import type { OrdersClient } from '../gen/orders.js';

@Injectable()
export class ReconcileJob implements OnModuleDestroy {
  reconciled = 0;
  #running = false;
  readonly #logger = new Logger(ReconcileJob.name);
  readonly #ending = new AbortController();

  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  @Cron('*/5 * * * *') async run(spreadMs = 30_000): Promise<void> {
    if (this.#running) return; // the previous run has not ended
    this.#running = true;
    try {
      const { signal } = this.#ending;
      await delay(Math.random() * spreadMs, undefined, { signal }); // replicas do not start at the same moment
      const options = { timeoutMs: 240_000, waitForReady: true, signal };
      for await (const event of this.orders.watch({ from: '0' }, options)) await this.reconcile(event.sequence);
    } catch (error) {
      // The next run tries again.
      if (!this.#ending.signal.aborted) this.#logger.warn(isGrpcCallError(error) ? error.message : error);
    } finally {
      this.#running = false;
    }
  }

  onModuleDestroy(): void {
    this.#ending.abort();
  }

  private async reconcile(_sequence: string): Promise<void> {
    this.reconciled++;
  }
}
// #endregion
