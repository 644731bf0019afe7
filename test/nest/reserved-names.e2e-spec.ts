import { Controller, Injectable, type INestApplicationContext, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, type MicroserviceOptions } from '@nestjs/microservices';
import {
  InjectGrpcClient,
  InjectGrpcService,
  ResilientGrpcModule,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, type Observable } from 'rxjs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CapturedLog } from '../support/captured-log.js';
import { NAMES_PROTO } from './places.js';

interface Name {
  readonly text: string;
}
type Names = Record<string, (request: Name) => Observable<Name>>;

const RPCS = [
  'Then',
  'OnModuleInit',
  'OnApplicationBootstrap',
  'OnModuleDestroy',
  'BeforeApplicationShutdown',
  'OnApplicationShutdown',
];

/** The rpcs whose handlers ran. */
let called: string[] = [];
const log = new CapturedLog();
const leaks = captureLeaks();
const apps: INestApplicationContext[] = [];
beforeEach(() => {
  called = [];
  log.lines.length = 0;
});
afterEach(async () => {
  for (const app of apps.splice(0).reverse()) await app.close();
  await leaks.settled();
});

@Controller()
class NamesController {
  @GrpcMethod('LowerCaseNames', 'catch')
  answer(request: Name): Name {
    return request;
  }
}
for (const rpc of RPCS) {
  const method = `handle${rpc}`;
  const value = (request: Name): Name => {
    called.push(rpc);
    return { text: `${rpc} ${request.text}` };
  };
  Object.defineProperty(NamesController.prototype, method, { value, configurable: true, writable: true });
  const descriptor = Object.getOwnPropertyDescriptor(NamesController.prototype, method)!;
  GrpcMethod('Names', rpc)(NamesController.prototype, method, descriptor);
}

async function serve(controller: Type): Promise<number> {
  class AppModule {}
  const module = {
    module: AppModule,
    imports: [ResilientGrpcServerModule.forRoot({ package: 'names.v1', protoPath: NAMES_PROTO, url: '127.0.0.1:0' })],
    controllers: [controller],
  };
  const app = await NestFactory.create(module, { logger: log, abortOnError: false });
  apps.push(app);
  app.connectMicroservice<MicroserviceOptions>({ strategy: app.get(ResilientGrpcServer) });
  await app.startAllMicroservices();
  await app.init();
  return app.get(ResilientGrpcServer).port!;
}

@Injectable()
class Caller {
  constructor(
    @InjectGrpcService('names', 'Names') readonly names: Names,
    @InjectGrpcService('names', 'LowerCaseNames') readonly lower: Names,
    @InjectGrpcClient('names') readonly client: ResilientGrpcClient,
  ) {}
}

async function startCaller(port: number): Promise<Caller> {
  class ClientModule {}
  const url = `127.0.0.1:${port}`;
  const module = {
    module: ClientModule,
    imports: [ResilientGrpcModule.forFeature([{ name: 'names', protoPath: NAMES_PROTO, url }])],
    providers: [Caller],
  };
  const app = await NestFactory.createApplicationContext(module, { logger: log, abortOnError: false });
  app.enableShutdownHooks([]);
  apps.push(app);
  return app.get(Caller);
}

it('starts clients and servers of methods that are named like a promise or a lifecycle hook, and calls them only on request', async () => {
  const { names, lower, client } = await startCaller(await serve(NamesController));
  expect(called).toEqual([]);

  for (const rpc of RPCS) {
    expect(await firstValueFrom(names[rpc]!({ text: 'now' }))).toEqual({ text: `${rpc} now` });
    const nestName = rpc.charAt(0).toLowerCase() + rpc.slice(1);
    const got = client.getService<Names>('Names');
    expect(await firstValueFrom(got[nestName]!({ text: 'again' }))).toEqual({ text: `${rpc} again` });
  }
  expect(called).toEqual(RPCS.flatMap((rpc) => [rpc, rpc]));
  expect(await firstValueFrom(lower['catch']!({ text: 'caught' }))).toEqual({ text: 'caught' });
  const failure = await firstValueFrom(lower['Then']!({ text: '' })).catch((error: unknown) => error);
  expect(failure).toMatchObject({ codeName: 'UNIMPLEMENTED' });

  for (const app of apps.splice(0).reverse()) await app.close();
  expect(called).toHaveLength(2 * RPCS.length);
  expect(log.lines.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
});

it.each(['then', 'onModuleInit', 'onApplicationShutdown'])(
  'fails the start of a server whose handler is a method with the name %s',
  async (name) => {
    @Controller()
    class OwnController {}
    const value = (): void => undefined;
    Object.defineProperty(OwnController.prototype, name, { value, configurable: true, writable: true });
    const descriptor = Object.getOwnPropertyDescriptor(OwnController.prototype, name)!;
    GrpcMethod('Names')(OwnController.prototype, name, descriptor);
    await expect(serve(OwnController)).rejects.toThrow(
      `OwnController.${name}: this handler would also run without a call, because JavaScript or Nest calls methods of this name; rename the method`,
    );
  },
);

it('fails the start of a server with a handler of an rpc named then, for which Nest would wait without end', async () => {
  @Controller()
  class ThenController {
    @GrpcMethod('LowerCaseNames', 'then')
    answer(request: Name): Name {
      return request;
    }
  }
  await expect(serve(ThenController)).rejects.toThrow(
    "/names.v1.LowerCaseNames/then: Nest cannot serve an rpc named 'then', because it awaits the object of handlers; give the rpc another name",
  );
});
