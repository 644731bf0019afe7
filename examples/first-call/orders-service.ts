// #region all
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod } from '@nestjs/microservices';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';

@Controller()
class OrdersService {
  @GrpcMethod('Orders') get({ id }: { id: string }) {
    return { id, item: 'tea' };
  }
}

const url = `0.0.0.0:${process.argv[2] ?? 50051}`;

@Module({
  imports: [ResilientGrpcServerModule.forRoot({ package: 'orders.v1', protoPath: 'protos/orders.proto', url })],
  controllers: [OrdersService],
})
class ServiceModule {}

async function bootstrap() {
  const service = await NestFactory.createMicroservice(ServiceModule, {
    inject: [ResilientGrpcServer],
    useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
  });
  service.enableShutdownHooks(); // here, too
  await service.listen();
}
void bootstrap();
// #endregion
