// A Nest application that serves grpc.health.v1 in its own process, with this library's server or with Nest's server and the package
// grpc-health-check, as in Nest's documentation.
//   node --expose-gc watched-server.mjs --port 50051 --kind ours|nest
// On an IPC message, it reports its memory.
import 'reflect-metadata';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Transport } from '@nestjs/microservices';
import { HealthImplementation } from 'grpc-health-check';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { freePort } from '../../support/free-port.mjs';
import { readMemory } from '../../../bench/memory.mjs';

const { values } = parseArgs({
  options: { port: { type: 'string', default: '0' }, kind: { type: 'string', default: 'ours' } },
});
const port = values.port === '0' ? await freePort() : values.port;
const options = {
  package: 'orders.v1',
  protoPath: fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)),
  url: `127.0.0.1:${port}`,
};

class AppModule {}
Module({ imports: values.kind === 'ours' ? [ResilientGrpcServerModule.forRoot(options)] : [] })(AppModule);

const app =
  values.kind === 'ours'
    ? await NestFactory.createMicroservice(AppModule, {
        useFactory: (strategy) => ({ strategy }),
        inject: [ResilientGrpcServer],
      })
    : await NestFactory.createMicroservice(AppModule, {
        transport: Transport.GRPC,
        options: {
          ...options,
          onLoadPackageDefinition: (_definition, server) =>
            new HealthImplementation({ '': 'SERVING' }).addToServer(server),
        },
      });
await app.listen();
process.on('message', () => {
  void readMemory().then((memory) => process.send?.(memory));
});
process.once('disconnect', () => process.exit(0));
console.log(`listening on 127.0.0.1:${port}`);
