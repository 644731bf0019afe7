import { Injectable, Module } from '@nestjs/common';
import {
  ResilientGrpcServerModule,
  type ResilientGrpcServerOptions,
  type ResilientGrpcServerOptionsFactory,
} from 'nestjs-resilient-grpc/server';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { afterAll, expect, it } from 'vitest';
import { ordersModule, ordersOf, ordersOptions, ownUrl, startMicroservice } from './served-orders.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

@Injectable()
class Configuration implements ResilientGrpcServerOptionsFactory {
  readonly url = ownUrl();
  createGrpcServerOptions(): ResilientGrpcServerOptions {
    return ordersOptions(this.url);
  }
}

@Module({ providers: [Configuration], exports: [Configuration] })
class ConfigurationModule {}

const imports = [ConfigurationModule];

it.each<[string, Parameters<typeof ResilientGrpcServerModule.forRootAsync>[0]]>([
  [
    'a factory',
    {
      imports,
      inject: [Configuration],
      useFactory: (configuration: Configuration) => Promise.resolve(configuration.createGrpcServerOptions()),
    },
  ],
  ['a provider', { imports, useExisting: Configuration }],
  ['a class', { useClass: Configuration }],
])('reads the server options of a standalone microservice from %s', async (_what, source) => {
  const { app } = await startMicroservice(ordersModule(ResilientGrpcServerModule.forRootAsync(source)));
  const { url } = app.get(Configuration, { strict: false });
  expect(await ordersOf(url).unary('get', { id: '7' })).toMatchObject({ id: '7' });
});
