// #region all
// gateway.module.ts
import { Controller, Get, Module, Param } from '@nestjs/common';
import { InjectGrpcService, ResilientGrpcModule, type Resilient } from 'nestjs-resilient-grpc';
import type { OrdersClient } from '../gen/orders.js';
import { HealthModule } from '../health/health.module.js';

@Controller('orders')
class OrdersController {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  @Get(':id') get(@Param('id') id: string) {
    return this.orders.get({ id });
  }
}

@Module({
  imports: [
    HealthModule, // /health/live and /health/ready, for the probes
    ResilientGrpcModule.forRoot({ drain: { timeoutMs: 25_000, readinessDelayMs: 5_000 } }),
    ResilientGrpcModule.forFeature([
      {
        name: 'orders',
        url: 'dns:///orders.shop.svc.cluster.local.:50051', // the headless service, with a dot at its end
        protoPath: 'protos/orders.proto',
        loadBalancing: 'round_robin', // uses every pod
        dnsRefreshMs: 2_000, // how often the name is resolved again
      },
    ]),
  ],
  controllers: [OrdersController],
})
export class GatewayModule {}
// #endregion
