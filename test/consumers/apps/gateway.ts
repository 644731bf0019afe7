/** An HTTP gateway for the orders service. The gateway runs on Express and on Fastify. */
import { Controller, Get, Inject, Module, Param, Sse, type INestApplication } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import {
  GrpcToHttpExceptionFilter,
  InjectGrpcService,
  ResilientGrpcModule,
  type GrpcClientOptions,
  type Resilient,
} from 'nestjs-resilient-grpc';
import { ResilientGrpcDashboardModule } from 'nestjs-resilient-grpc/dashboard';
import { GrpcChannelHealthIndicator, ResilientGrpcHealthModule } from 'nestjs-resilient-grpc/health';
import { map, type Observable } from 'rxjs';
import type { Order, OrdersClient } from '../../../src/gen/orders.pb.js';

@Controller('orders')
class OrdersController {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  @Get(':id')
  get(@Param('id') id: string): Observable<Order> {
    return this.orders.get({ id }, { timeoutMs: 60_000 });
  }

  @Sse('from/:sequence')
  events(@Param('sequence') from: string): Observable<{ data: string }> {
    return this.orders.watch({ from }).pipe(map(({ sequence }) => ({ data: sequence })));
  }
}

@Controller('health')
class HealthController {
  constructor(
    @Inject(HealthCheckService) private readonly health: HealthCheckService,
    @Inject(GrpcChannelHealthIndicator) private readonly channels: GrpcChannelHealthIndicator,
  ) {}

  @Get()
  @HealthCheck()
  check() {
    return this.health.check([() => this.channels.checkAll()]);
  }
}

const orders: GrpcClientOptions = {
  name: 'orders',
  url: process.env['ORDERS_URL'] ?? 'orders:50051',
  protoPath: 'protos/orders.proto',
  loader: { longs: String },
};

@Module({
  imports: [
    ResilientGrpcModule.forRoot({ propagate: { metadata: ['x-request-id'] } }),
    ResilientGrpcModule.forFeature([orders]),
    ResilientGrpcDashboardModule.forRoot({ path: 'grpc', public: true }),
    ResilientGrpcHealthModule,
    TerminusModule,
  ],
  controllers: [OrdersController, HealthController],
  providers: [{ provide: APP_FILTER, useClass: GrpcToHttpExceptionFilter }],
})
export class GatewayModule {}

/** Sends requests to the gateway, closes it, and prints the responses. */
export async function visit(app: INestApplication): Promise<void> {
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  const get = async (path: string) => fetch(url + path, { headers: { 'x-request-id': 'r-7', connection: 'close' } });
  const bodyOf = async (path: string) => {
    const answer = await get(path);
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const output = {
    order: await bodyOf('/orders/7'),
    none: await bodyOf('/orders/0'),
    events: (await (await get('/orders/from/9007199254740993')).text()).match(/^data: .+$/gm),
    health: (await bodyOf('/health')).body['details'],
    dashboard: await Promise.all(['', '/page.js', '/uplot.js'].map(async (file) => (await get(`/grpc${file}`)).status)),
  };
  await app.close();
  console.log(JSON.stringify(output));
}
