import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { EventLog } from './event-log.js';
import { FeedController } from './feed.controller.js';

@Module({})
class FeedModule {}

/** Starts the service. It must start again with the same log, or it will not know the cursors of its callers. */
export async function serve(log: EventLog, port = 50051) {
  const contract = { package: 'orders.v1', protoPath: 'protos/orders.proto', loader: { longs: String } };
  const module = {
    module: FeedModule,
    imports: [ResilientGrpcServerModule.forRoot({ ...contract, url: `127.0.0.1:${port}` })],
    controllers: [FeedController],
    providers: [{ provide: EventLog, useValue: log }],
  };
  const app = await NestFactory.createMicroservice(module, {
    inject: [ResilientGrpcServer],
    useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
    logger: false,
  });
  app.enableShutdownHooks();
  await app.listen();
  return app;
}
