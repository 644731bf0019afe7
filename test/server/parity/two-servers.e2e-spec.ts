import { Module, type DynamicModule, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Transport, type MicroserviceOptions } from '@nestjs/microservices';
import { status as Code } from '@grpc/grpc-js';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, afterEach, expect, it } from 'vitest';
import { ParityClient, numbers } from './client.js';
import { CallsController, KindsController } from './handlers.js';
import { KINDS_PROTO } from './places.js';
import { SERVERS, freeAddress, type ServerKind } from './servers.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

/** One server of an application: its module and, once the application exists, its microservice. */
interface Part {
  readonly url: string;
  readonly imports: DynamicModule[];
  microservice(app: INestApplication): MicroserviceOptions;
}

async function createPart(serverKind: ServerKind): Promise<Part> {
  const options = { url: await freeAddress(), package: 'parity.v1', protoPath: KINDS_PROTO };
  const { url } = options;
  if (serverKind === 'Transport.GRPC') {
    return { url, imports: [], microservice: () => ({ transport: Transport.GRPC, options }) };
  }
  // Two servers of the same class in one application need their own provider tokens.
  const token = Symbol(url);
  @Module({
    imports: [ResilientGrpcServerModule.forRoot(options)],
    providers: [{ provide: token, useExisting: ResilientGrpcServer }],
  })
  class ServerModule {}
  return {
    url,
    imports: [{ module: ServerModule }],
    microservice: (app) => ({ strategy: app.get<ResilientGrpcServer>(token) }),
  };
}

const PAIRS = SERVERS.flatMap((first) => SERVERS.map((second) => [first, second] as const));

it.each(PAIRS)(
  'runs the servers %s and %s in one application at separate addresses, and closes both with the application',
  async (...pair) => {
    const parts = [await createPart(pair[0]), await createPart(pair[1])];
    const module = {
      module: class AppModule {},
      imports: parts.flatMap(({ imports }) => imports),
      controllers: [KindsController, CallsController],
    };
    const app = await NestFactory.create(module, { logger: false, abortOnError: false });
    open.push(app);
    for (const { microservice } of parts) app.connectMicroservice(microservice(app));
    await app.startAllMicroservices();
    await app.init();
    const clients = parts.map(({ url }) => new ParityClient(url));
    open.push(...clients);
    for (const client of clients) {
      expect(numbers(await client.call('parity.v1.Kinds/Unary', { number: 1 }))).toEqual([2]);
      expect(numbers(await client.call('parity.v1.Calls/Collect', [{ number: 2 }, { number: 3 }]))).toEqual([5]);
    }
    await app.close();
    for (const client of clients) {
      await waitFor(async () => (await client.call('parity.v1.Kinds/Unary')).status.code === Code.UNAVAILABLE);
    }
  },
);
