import { Controller, Get, Module, Param, Sse } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { InjectGrpcService, ResilientGrpcModule, type Resilient } from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { map } from 'rxjs';
import type { OrdersClient } from '../gen/orders.js';

@Controller()
class OrdersController {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  @Get('orders/:id') get(@Param('id') id: string) {
    return this.orders.get({ id });
  }

  // #region feed
  @Sse('feed') feed() {
    const feed = resumable((from: bigint) => this.orders.watch({ from: String(from) }), {
      cursor: ({ sequence }) => BigInt(sequence),
      seed: 0n,
    });
    return feed.pipe(map(({ sequence }) => ({ data: sequence }))); // completes when the shutdown starts
  }
  // #endregion
}

const url = process.env['ORDERS_URL'] ?? 'localhost:50051';

@Module({
  imports: [
    // #region drain
    ResilientGrpcModule.forRoot({
      drain: {
        timeoutMs: 8_000, // the whole shutdown
        readinessDelayMs: 100, // 5_000 in Kubernetes: time in which the load balancer learns of it
      },
    }),
    // #endregion
    ResilientGrpcModule.forFeature([
      { name: 'orders', url, protoPath: 'protos/orders.proto', loader: { longs: String } },
    ]),
  ],
  controllers: [OrdersController],
})
class GatewayModule {}

// #region bootstrap
async function bootstrap() {
  const app = await NestFactory.create(GatewayModule);
  app.enableShutdownHooks(); // without it, SIGTERM cuts off everything at once
  await app.listen(process.argv[2] ?? 3000);
  console.log(`listening on ${await app.getUrl()}`);
}
void bootstrap();
// #endregion
