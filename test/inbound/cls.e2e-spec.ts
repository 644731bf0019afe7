import { Controller, Get, Module, Param, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ClsModule, ClsService } from 'nestjs-cls';
import { InjectGrpcService, ResilientGrpcModule, type GrpcCallOptions, type Resilient } from 'nestjs-resilient-grpc';
import { concatMap, delay, finalize, from, lastValueFrom, map, of, tap, toArray } from 'rxjs';
import { expect, it, onTestFinished } from 'vitest';
import { EACH_METHOD, startServer, type EchoService, type MethodName } from '../calls/support.js';
import { ECHO_PROTO } from '../testing/echo-client.js';

const USERS = ['ann', 'bob', 'eve'];

/** Starts a gateway whose route `/:method` makes a call and returns the users that its callbacks found in the store of nestjs-cls. */
async function startGateway(url: string): Promise<INestApplication> {
  @Controller()
  class GatewayController {
    constructor(
      @InjectGrpcService('echo', 'Echo') private readonly echo: Resilient<EchoService>,
      private readonly cls: ClsService,
    ) {}

    @Get(':method')
    async call(@Param('method') method: MethodName): Promise<Record<string, unknown>> {
      const seen: Record<string, string[]> = {};
      const note = (where: string): void => {
        (seen[where] ??= []).push(String(this.cls.get('user')));
      };
      const requests = from([1, 2, 3]).pipe(
        concatMap((number) => of({ text: 'x', number }).pipe(delay(1))),
        tap({ next: () => note('requests'), complete: () => note('requests') }),
      );
      const options: GrpcCallOptions = { onHeaders: () => note('onHeaders'), onEnd: () => note('onEnd') };
      const call =
        method === 'clientStream' || method === 'bidi'
          ? this.echo[method](requests, options)
          : this.echo[method]({ text: 'x', number: 3 }, options);
      const responses = call.pipe(
        map(() => note('next')),
        tap({ complete: () => note('complete') }),
        finalize(() => note('finalize')),
        toArray(),
      );
      await lastValueFrom(responses);
      note('await');
      return Object.fromEntries(Object.entries(seen).map(([where, users]) => [where, [...new Set(users)]]));
    }
  }

  @Module({
    imports: [
      ClsModule.forRoot({
        global: true,
        middleware: { mount: true, setup: (cls, request) => cls.set('user', request.headers['x-user']) },
      }),
      ResilientGrpcModule.forRoot(),
      ResilientGrpcModule.forFeature([{ name: 'echo', url, package: 'testing.v1', protoPath: ECHO_PROTO }]),
    ],
    controllers: [GatewayController],
  })
  class GatewayModule {}

  const gateway = await NestFactory.create(GatewayModule, { logger: false, abortOnError: false });
  onTestFinished(() => gateway.close());
  await gateway.listen(0, '127.0.0.1');
  return gateway;
}

it.each(EACH_METHOD)(
  'finds the store of nestjs-cls in every callback of %s, for concurrent requests',
  async (method) => {
    const server = await startServer();
    const gateway = await startGateway(server.url);
    const url = await gateway.getUrl();
    const responses = USERS.map(async (user) =>
      (await fetch(`${url}/${method}`, { headers: { 'x-user': user } })).json(),
    );
    const callbacks = ['onHeaders', 'onEnd', 'next', 'complete', 'finalize', 'await'];
    if (method === 'clientStream' || method === 'bidi') callbacks.push('requests');
    expect(await Promise.all(responses)).toEqual(
      USERS.map((user) => Object.fromEntries(callbacks.map((callback) => [callback, [user]]))),
    );
  },
);
