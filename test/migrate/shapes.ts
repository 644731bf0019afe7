/** A file with gRPC clients, before and after its migration. */
export interface Shape {
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

const DECORATED = "import { Module } from '@nestjs/common';\n";

export const SHAPES: readonly Shape[] = [
  {
    path: 'src/literal.ts',
    before: `${DECORATED}import { ClientsModule, Transport } from '@nestjs/microservices';

@Module({
  imports: [
    // All clients.
    ClientsModule.register([
      {
        name: 'orders',
        transport: Transport.GRPC,
        // How to reach it.
        options: {
          url: 'orders:50051',
          package: ['orders.v1'], // one of them
          protoPath: 'orders.proto',
          loader: {
            longs: String, // exact
          },
          keepalive: { keepaliveTimeMs: 20_000, http2MaxPingsWithoutData: 0 },
          maxMetadataSize: 16_384,
          channelOptions: { 'grpc.max_reconnect_backoff_ms': 1_000 }
        },
      },
    ]),
  ],
  exports: [ClientsModule],
})
export class LiteralModule {}
`,
    after: `${DECORATED}import { ResilientGrpcModule } from 'nestjs-resilient-grpc';

@Module({
  imports: [
    // All clients.
    ResilientGrpcModule.forFeature([
      {
        name: 'orders',
        // How to reach it.
        url: 'orders:50051',
        package: ['orders.v1'], // one of them
        protoPath: 'orders.proto',
        loader: {
          longs: String, // exact
        },
        keepalive: { keepaliveTimeMs: 20_000, },
        channelOptions: { 'grpc.max_reconnect_backoff_ms': 1_000 },
      },
    ]),
  ],
  exports: [ResilientGrpcModule],
})
export class LiteralModule {}
`,
  },
  {
    path: 'src/global.ts',
    before: `${DECORATED}import { ClientsModule, Transport, type ClientGrpc } from '@nestjs/microservices';

export const ITEMS = Symbol('items');
export type Client = ClientGrpc;

@Module({
  imports: [
    ClientsModule.register({
      isGlobal: true,
      clients: [
        { name: ITEMS, transport: Transport.GRPC, options: { url: process.env.ITEMS_URL, package: 'items', protoPath: 'items.proto' } },
        { transport: Transport.GRPC, options: { package: 'local', protoPath: 'local.proto' }, name: 'local' },
      ],
    }),
  ],
})
export class GlobalModule {}
`,
    after: `${DECORATED}import { type ClientGrpc } from '@nestjs/microservices';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';

export const ITEMS = Symbol('items');
export type Client = ClientGrpc;

@Module({
  imports: [
    ResilientGrpcModule.forFeature([
      { name: ITEMS, url: process.env.ITEMS_URL || 'localhost:5000', package: 'items', protoPath: 'items.proto' },
      { url: 'localhost:5000', package: 'local', protoPath: 'local.proto', name: 'local' },
    ], { isGlobal: true }),
  ],
})
export class GlobalModule {}
`,
  },
  {
    path: 'src/shared-options.ts',
    before: `import { Transport, type GrpcOptions } from '@nestjs/microservices';

export const shared: GrpcOptions = {
  transport: Transport.GRPC,
  options: {
    url: 'shared:50051',
    package: 'shared',
    protoPath: 'shared.proto',
    onLoadPackageDefinition: () => undefined,
  },
};

export const plain = { package: 'plain', protoPath: 'plain.proto' };
`,
    after: `import { Transport, type GrpcOptions } from '@nestjs/microservices';

export const shared = {
  transport: Transport.GRPC,
  options: {
    url: 'shared:50051',
    package: 'shared',
    protoPath: 'shared.proto',
    onLoadPackageDefinition: () => undefined,
  },
} satisfies GrpcOptions;

export const plain = { package: 'plain', protoPath: 'plain.proto' };
`,
  },
  {
    path: 'src/shared.ts',
    before: `${DECORATED}import { ClientsModule, Transport, type GrpcOptions } from '@nestjs/microservices';
import { plain, shared } from './shared-options';

const limits: Partial<GrpcOptions['options']> = { maxReceiveMessageLength: 1_024 };
const options = { ...plain, url: 'own:50051' };

@Module({
  imports: [
    ClientsModule.register([
      { name: 'shared', ...shared },
      { name: 'plain', transport: Transport.GRPC, options: { ...plain, ...limits } },
      { name: 'own', transport: Transport.GRPC, options },
    ]),
  ],
})
export class SharedModule {}
`,
    after: `${DECORATED}import { type GrpcOptions } from '@nestjs/microservices';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';
import { plain, shared } from './shared-options';

const limits = { maxReceiveMessageLength: 1_024 } satisfies Partial<GrpcOptions['options']>;
const options = { ...plain, url: 'own:50051' };

@Module({
  imports: [
    ResilientGrpcModule.forFeature([
      { name: 'shared', url: shared.options.url, package: shared.options.package, protoPath: shared.options.protoPath },
      { name: 'plain', url: 'localhost:5000', ...plain, ...limits },
      { name: 'own', ...options },
    ]),
  ],
})
export class SharedModule {}
`,
  },
  {
    path: 'src/mixed.ts',
    before: `${DECORATED}import { ClientsModule, Transport } from '@nestjs/microservices';
import { type Resilient } from 'nestjs-resilient-grpc';

const name = 'stock';
export type Stock = Resilient<object>;

@Module({
  imports: [
    ClientsModule.register([
      // Stays.
      { name: 'mail', transport: Transport.TCP, options: { port: 1 } },
      // Moves.
      { name, transport: Transport.GRPC, options: { package: 'stock', protoPath: 'stock.proto', url: 'stock:1' } }, // too
      { name: 'log', transport: Transport.KAFKA, options: {} },
    ]),
  ],
  exports: [ClientsModule],
})
export class MixedModule {}

@Module({ imports: [ClientsModule.register([{ name: 'tcp' }])], exports: [ClientsModule] })
export class OtherModule {}
`,
    after: `${DECORATED}import { ClientsModule, Transport } from '@nestjs/microservices';
import { type Resilient, ResilientGrpcModule } from 'nestjs-resilient-grpc';

const name = 'stock';
export type Stock = Resilient<object>;

@Module({
  imports: [
    ClientsModule.register([
      // Stays.
      { name: 'mail', transport: Transport.TCP, options: { port: 1 } },
      { name: 'log', transport: Transport.KAFKA, options: {} },
    ]),
    ResilientGrpcModule.forFeature([
      // Moves.
      { name, package: 'stock', protoPath: 'stock.proto', url: 'stock:1' }, // too
    ]),
  ],
  exports: [ClientsModule, ResilientGrpcModule],
})
export class MixedModule {}

@Module({ imports: [ClientsModule.register([{ name: 'tcp' }])], exports: [ClientsModule] })
export class OtherModule {}
`,
  },
  {
    path: 'src/factories.ts',
    before: `import { Injectable, Module } from '@nestjs/common';
import { ClientsModule, Transport, type ClientProvider, type ClientOptions } from '@nestjs/microservices';

@Injectable()
class Config {
  url(): string | undefined {
    return undefined;
  }
}

@Module({ providers: [Config], exports: [Config] })
class ConfigModule {}

const clients = ClientsModule.registerAsync([
  {
    name: 'first',
    imports: [ConfigModule],
    inject: [Config],
    useFactory: async (config: Config): Promise<ClientProvider> => ({
      transport: Transport.GRPC,
      options: {
        url: config.url(),
        // The contract.
        package: 'first',
        protoPath: 'first.proto',
        maxSendMessageLength: 1_024,
      },
    }),
  },
  {
    name: 'second',
    useFactory() {
      const port = 50_051;
      return { transport: Transport.GRPC, options: { url: \`second:\${port}\`, package: 'second', protoPath: 'second.proto' } } as ClientOptions;
    },
  },
]);

@Module({ imports: [clients], exports: [ClientsModule] })
export class FactoriesModule {}
`,
    after: `import { Injectable, Module } from '@nestjs/common';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';

@Injectable()
class Config {
  url(): string | undefined {
    return undefined;
  }
}

@Module({ providers: [Config], exports: [Config] })
class ConfigModule {}

const clients = ResilientGrpcModule.forFeatureAsync([
  {
    name: 'first',
    // The contract.
    package: 'first',
    protoPath: 'first.proto',
    imports: [ConfigModule],
    inject: [Config],
    useFactory: async (config: Config) => ({
      url: config.url() || 'localhost:5000',
      maxSendMessageLength: 1_024,
    }),
  },
  {
    name: 'second',
    package: 'second',
    protoPath: 'second.proto',
    useFactory() {
      const port = 50_051;
      return { url: \`second:\${port}\` };
    },
  },
]);

@Module({ imports: [clients], exports: [ResilientGrpcModule] })
export class FactoriesModule {}
`,
  },
];
