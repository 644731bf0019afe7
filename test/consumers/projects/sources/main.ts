/** An application that uses every entry point of the package and prints results as JSON. */
import 'reflect-metadata';
import { Controller, Get, Inject, Injectable, Module, Param } from '@nestjs/common';
import { APP_FILTER, NestFactory } from '@nestjs/core';
import { GrpcMethod, Transport, type GrpcOptions } from '@nestjs/microservices';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import {
  GrpcClients,
  GrpcToHttpExceptionFilter,
  InjectGrpcService,
  ResilientGrpcModule,
  type Resilient,
} from 'nestjs-resilient-grpc';
import { ResilientGrpcDashboardModule } from 'nestjs-resilient-grpc/dashboard';
import { GrpcChannelHealthIndicator, ResilientGrpcHealthModule } from 'nestjs-resilient-grpc/health';
import { registerKubernetesResolver } from 'nestjs-resilient-grpc/kubernetes';
import { retryBackoff } from 'nestjs-resilient-grpc/operators';
import { GrpcException, ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { ResilientGrpcTelemetryModule } from 'nestjs-resilient-grpc/telemetry';
import { FaultProxy, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, defer, throwError, of, type Observable } from 'rxjs';

interface Order {
  id: string;
  item: string;
}

interface OrdersClient {
  get(request: { id: string }): Observable<Order>;
}

/** Nest's `GrpcOptions`, shared by the server and the client. */
const shared: GrpcOptions = {
  transport: Transport.GRPC,
  options: { package: 'orders.v1', protoPath: 'orders.proto', url: '127.0.0.1:0' },
};

@Controller()
class OrdersHandlers {
  @GrpcMethod('Orders')
  get({ id }: { id: string }): Order {
    if (id === '0') throw new GrpcException('NOT_FOUND', 'no such order');
    return { id, item: 'tea' };
  }
}

@Module({
  imports: [ResilientGrpcServerModule.forRoot(shared)],
  controllers: [OrdersHandlers],
})
class ServerModule {}

@Injectable()
class Orders {
  constructor(@InjectGrpcService('orders', 'Orders') readonly service: Resilient<OrdersClient>) {}
}

@Controller('orders')
class OrdersController {
  // Nest injects by the type of the parameter, which the compiler emits.
  constructor(private readonly orders: Orders) {}

  @Get(':id')
  get(@Param('id') id: string): Observable<Order> {
    return this.orders.service.get({ id });
  }
}

@Controller('health')
class HealthController {
  constructor(
    @Inject(HealthCheckService) private readonly health: HealthCheckService,
    private readonly channels: GrpcChannelHealthIndicator,
  ) {}

  @Get()
  @HealthCheck()
  check() {
    return this.health.check([() => this.channels.checkAll()]);
  }
}

function gateway(url: string): new () => unknown {
  @Module({
    imports: [
      ResilientGrpcModule.forRoot({ propagate: { metadata: ['x-request-id'] } }),
      ResilientGrpcModule.forFeature([{ name: 'orders', ...shared.options, url }]),
      ResilientGrpcTelemetryModule,
      ResilientGrpcDashboardModule.forRoot({ path: 'grpc', public: true }),
      ResilientGrpcHealthModule,
      TerminusModule,
    ],
    controllers: [OrdersController, HealthController],
    providers: [Orders, { provide: APP_FILTER, useClass: GrpcToHttpExceptionFilter }],
  })
  class GatewayModule {}
  return GatewayModule;
}

async function main(): Promise<void> {
  const leaks = captureLeaks();
  const server = await NestFactory.createMicroservice(ServerModule, {
    inject: [ResilientGrpcServer],
    useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
    logger: ['error', 'fatal'],
  });
  await server.listen();
  const proxy = await FaultProxy.start(`127.0.0.1:${String(server.get(ResilientGrpcServer).port)}`);
  const app = await NestFactory.create(gateway(proxy.url), { logger: ['error', 'fatal'] });
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  const get = async (path: string) => fetch(url + path, { headers: { connection: 'close' } });

  let attempts = 0;
  const operators = defer(() => ((attempts += 1) === 1 ? throwError(() => new Error('failed')) : of(attempts)));
  const output = {
    order: await (await get('/orders/7')).json(),
    missing: (await get('/orders/0')).status,
    health: (await get('/health')).status,
    dashboard: await Promise.all(['', '/page.js', '/uplot.js'].map(async (file) => (await get(`/grpc${file}`)).status)),
    clients: [...app.get(GrpcClients)].map(({ name }) => name),
    operators: await firstValueFrom(
      operators.pipe(retryBackoff({ maxAttempts: 2, initialBackoffMs: 1, maxBackoffMs: 1 })),
    ),
    kubernetes: typeof registerKubernetesResolver,
  };
  await app.close();
  await proxy.close();
  await server.close();
  await leaks.settled({ timeoutMs: 60_000 });
  console.log(JSON.stringify(output));
}

void main();
