// #region all
import { Controller, HttpCode, Injectable, Logger, Param, Post, type BeforeApplicationShutdown } from '@nestjs/common';
import { InjectGrpcService, isGrpcCallError, type Resilient } from 'nestjs-resilient-grpc';
import { lastValueFrom } from 'rxjs';
import type { OrdersClient } from '../gen/orders.js';

/** Work that only the shutdown waits for. */
@Injectable()
export class BackgroundWork implements BeforeApplicationShutdown {
  readonly #logger = new Logger(BackgroundWork.name);
  readonly #running = new Set<Promise<void>>();

  begin(work: Promise<unknown>): void {
    const done: Promise<void> = work
      .then(
        () => {},
        (error: unknown) => this.#logger.warn(isGrpcCallError(error) ? error.message : error),
      )
      .finally(() => this.#running.delete(done));
    this.#running.add(done);
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.#running);
  }
}

@Controller('orders')
export class OrdersController {
  constructor(
    @InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>,
    private readonly work: BackgroundWork,
  ) {}

  @Post(':requestId') @HttpCode(202) place(@Param('requestId') requestId: string) {
    const order = { requestId, item: 'tea', quantity: 1 };
    this.work.begin(lastValueFrom(this.orders.create(order, { propagate: false, timeoutMs: 30_000 })));
  }
}
// #endregion
