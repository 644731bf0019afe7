// #region all
// orders.module.ts
import { Controller, Module } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';

@Controller()
class OrdersController {
  @GrpcMethod('Orders') get({ id }: { id: string }) {
    return { id, item: 'tea' };
  }
}

const url = process.env['GRPC_URL'] ?? '0.0.0.0:50051';

@Module({
  imports: [
    ResilientGrpcServerModule.forRoot({
      package: 'orders.v1',
      protoPath: 'protos/orders.proto',
      url,
      drain: { timeoutMs: 25_000, readinessDelayMs: 5_000 }, // like the client's, below the 30 s until SIGKILL
    }),
  ],
  controllers: [OrdersController],
})
export class OrdersModule {}
// #endregion
