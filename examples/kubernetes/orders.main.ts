// #region all
// main.ts of the service
import { NestFactory } from '@nestjs/core';
import { ResilientGrpcServer } from 'nestjs-resilient-grpc/server';
import { OrdersModule } from './orders.module.js';

async function bootstrap() {
  const service = await NestFactory.createMicroservice(OrdersModule, {
    inject: [ResilientGrpcServer],
    useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
  });
  service.enableShutdownHooks(); // SIGTERM starts the drain
  await service.listen();
}
void bootstrap();
// #endregion
