/** A file with gRPC clients, before and after its migration. */
export interface Shape {
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

const MODULE_IMPORT = "import { Module } from '@nestjs/common';\n";

export const SHAPES: readonly Shape[] = [
  {
    path: 'src/literal.ts',
    before: `${MODULE_IMPORT}import { ClientsModule, Transport } from '@nestjs/microservices';

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
    after: `${MODULE_IMPORT}import { ResilientGrpcModule } from 'nestjs-resilient-grpc';

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
        keepalive: { keepaliveTimeMs: 20_000, http2MaxPingsWithoutData: 0 },
        maxMetadataSize: 16_384,
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
    before: `${MODULE_IMPORT}import { ClientsModule, Transport, type ClientGrpc } from '@nestjs/microservices';

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
    after: `${MODULE_IMPORT}import { type ClientGrpc } from '@nestjs/microservices';
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
  },
  {
    path: 'src/shared.ts',
    before: `${MODULE_IMPORT}import { ClientsModule, Transport, type GrpcOptions } from '@nestjs/microservices';
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
    after: `${MODULE_IMPORT}import { type GrpcOptions } from '@nestjs/microservices';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';
import { plain, shared } from './shared-options';

const limits: Partial<GrpcOptions['options']> = { maxReceiveMessageLength: 1_024 };
const options = { ...plain, url: 'own:50051' };

@Module({
  imports: [
    ResilientGrpcModule.forFeature([
      { name: 'shared', ...shared },
      { name: 'plain', url: 'localhost:5000', ...plain, ...limits },
      { name: 'own', ...options },
    ]),
  ],
})
export class SharedModule {}
`,
  },
  {
    path: 'src/constants.ts',
    before: `import { ClientsModule, Transport, type ClientOptions, type ClientProviderOptions, type GrpcOptions } from '@nestjs/microservices';
import { plain } from './shared-options';

const kept: GrpcOptions = { transport: Transport.GRPC, options: { url: 'kept:1', ...plain } };
const client: ClientOptions = { transport: Transport.GRPC, options: { url: 'client:1', ...plain } };
const noUrl: GrpcOptions = { transport: Transport.GRPC, options: plain };
const maybeUrl: ClientOptions = { transport: Transport.GRPC, options: { url: process.env.URL, ...plain } };
const factory: GrpcOptions = { transport: Transport.GRPC, options: { ...plain, gracefulShutdown: true } };
const flat: GrpcOptions['options'] = { url: 'flat:1', ...plain };
const whole = { name: 'whole', transport: Transport.GRPC, options: { url: 'whole:1', ...plain } } satisfies ClientProviderOptions;
const annotated: ClientProviderOptions = { name: 'annotated', transport: Transport.GRPC, options: { url: 'annotated:1', ...plain } };
const onLoadPackageDefinition = () => undefined;

export const clients = [
  ClientsModule.register([{ name: 'kept', ...kept }]),
  ClientsModule.register([{ ...client, name: 'client' }]),
  ClientsModule.register([whole, annotated]),
  ClientsModule.register([{ name: 'nested', ...kept, options: { ...kept.options, maxMetadataSize: 5 } }]),
  ClientsModule.register([{ name: 'noUrl', ...noUrl }]),
  ClientsModule.register([{ name: 'maybeUrl', ...maybeUrl }]),
  ClientsModule.register([{ name: 'maybeNested', ...noUrl, options: { ...noUrl.options, url: process.env.URL } }]),
  ClientsModule.register([{ name: 'flat', transport: Transport.GRPC, options: { ...flat, onLoadPackageDefinition } }]),
  ClientsModule.register([{ name: 'options', transport: Transport.GRPC, options: kept.options }]),
  ClientsModule.registerAsync([{ name: 'factory', useFactory: () => ({ ...factory, options: { ...factory.options, url: 'f:1' } }) }]),
];
export const server = { ...kept.options };
`,
    after: `import { Transport, type ClientOptions, type ClientProviderOptions, type GrpcOptions } from '@nestjs/microservices';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';
import { plain } from './shared-options';

const kept: GrpcOptions = { transport: Transport.GRPC, options: { url: 'kept:1', ...plain } };
const client: ClientOptions = { transport: Transport.GRPC, options: { url: 'client:1', ...plain } };
const noUrl: GrpcOptions = { transport: Transport.GRPC, options: plain };
const maybeUrl: ClientOptions = { transport: Transport.GRPC, options: { url: process.env.URL, ...plain } };
const factory = { transport: Transport.GRPC, options: { ...plain, gracefulShutdown: true } } satisfies GrpcOptions;
const flat: GrpcOptions['options'] = { url: 'flat:1', ...plain };
const whole = { name: 'whole', transport: Transport.GRPC, options: { url: 'whole:1', ...plain } } satisfies ClientProviderOptions;
const annotated: ClientProviderOptions = { name: 'annotated', transport: Transport.GRPC, options: { url: 'annotated:1', ...plain } };
const onLoadPackageDefinition = () => undefined;

export const clients = [
  ResilientGrpcModule.forFeature([{ name: 'kept', ...kept }]),
  ResilientGrpcModule.forFeature([{ ...client, name: 'client' }]),
  ResilientGrpcModule.forFeature([whole, annotated]),
  ResilientGrpcModule.forFeature([{ name: 'nested', ...kept, options: { ...kept.options, maxMetadataSize: 5 } }]),
  ResilientGrpcModule.forFeature([{ name: 'noUrl', url: 'localhost:5000', ...noUrl.options }]),
  ResilientGrpcModule.forFeature([{ name: 'maybeUrl', ...maybeUrl.options, url: maybeUrl.options.url || 'localhost:5000' }]),
  ResilientGrpcModule.forFeature([{ name: 'maybeNested', ...noUrl.options, url: process.env.URL || 'localhost:5000' }]),
  ResilientGrpcModule.forFeature([{ name: 'flat', ...flat, onLoadPackageDefinition }]),
  ResilientGrpcModule.forFeature([{ name: 'options', ...kept.options }]),
  ResilientGrpcModule.forFeatureAsync([{ name: 'factory', package: factory.options.package, protoPath: factory.options.protoPath, useFactory: () => ({ url: 'f:1' }) }]),
];
export const server = { ...kept.options };
`,
  },
  {
    path: 'src/mixed.ts',
    before: `${MODULE_IMPORT}import { ClientsModule, Transport } from '@nestjs/microservices';
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
    after: `${MODULE_IMPORT}import { ClientsModule, Transport } from '@nestjs/microservices';
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
    before: `import { join } from 'node:path';
import { Injectable, Module } from '@nestjs/common';
import { ClientsModule, Transport, type ClientProvider, type ClientOptions } from '@nestjs/microservices';

const THIRD = 'third';

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
  {
    name: 'third',
    useFactory: async function () {
      return { transport: Transport.GRPC, options: { url: 'third:1', package: [THIRD], protoPath: join(__dirname, \`\${THIRD}.proto\`), loader: { longs: String } } };
    },
  },
]);

@Module({ imports: [clients], exports: [ClientsModule] })
export class FactoriesModule {}
`,
    after: `import { join } from 'node:path';
import { Injectable, Module } from '@nestjs/common';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';

const THIRD = 'third';

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
  {
    name: 'third',
    package: [THIRD],
    protoPath: join(__dirname, \`\${THIRD}.proto\`),
    loader: { longs: String },
    useFactory: async function () {
      return { url: 'third:1' };
    },
  },
]);

@Module({ imports: [clients], exports: [ResilientGrpcModule] })
export class FactoriesModule {}
`,
  },
  {
    path: 'src/urls.ts',
    before: `import { ClientsModule, Transport } from '@nestjs/microservices';

declare class ConfigService {
  // The type is \`any\`, as in Nest's ConfigService.
  get(key: string, fallback?: string): any;
  getOrThrow(key: string): any;
}
declare const config: ConfigService;
declare function required(name: string): { url: string; package: string; protoPath: string };
declare function optional(name: string): { url?: string; package: string; protoPath: string };
const { env } = process;
const base = { package: 'p', protoPath: 'p.proto' };
const fixed = process.env.URL ?? 'a:1';
const asserted = process.env.URL as string;

export const clients = [
  ClientsModule.register([{ name: 'literal', transport: Transport.GRPC, options: { ...base, url: 'a:1' } }]),
  ClientsModule.register([{ name: 'template', transport: Transport.GRPC, options: { ...base, url: \`\${process.env.HOST}:1\` } }]),
  ClientsModule.register([{ name: 'sum', transport: Transport.GRPC, options: { ...base, url: process.env.HOST + ':1' } }]),
  ClientsModule.register([{ name: 'nullish', transport: Transport.GRPC, options: { ...base, url: process.env.URL ?? 'a:1' } }]),
  ClientsModule.register([{ name: 'or', transport: Transport.GRPC, options: { ...base, url: process.env.URL || 'a:1' } }]),
  ClientsModule.register([{ name: 'condition', transport: Transport.GRPC, options: { ...base, url: process.env.TEST ? 'a:1' : 'b:1' } }]),
  ClientsModule.register([{ name: 'constant', transport: Transport.GRPC, options: { ...base, url: fixed } }]),
  ClientsModule.register([{ name: 'thrown', transport: Transport.GRPC, options: { ...base, url: config.getOrThrow('URL') } }]),
  ClientsModule.register([{ name: 'fallback', transport: Transport.GRPC, options: { ...base, url: config.get('URL', 'a:1') } }]),
  ClientsModule.register([{ name: 'property', transport: Transport.GRPC, options: { ...required('a') } }]),
  ClientsModule.register([{ name: 'replaced', transport: Transport.GRPC, options: { ...optional('a'), url: 'a:1' } }]),
  ClientsModule.register([{ name: 'variable', transport: Transport.GRPC, options: { ...base, url: env.URL } }]),
  ClientsModule.register([{ name: 'sure', transport: Transport.GRPC, options: { ...base, url: process.env.URL! } }]),
  ClientsModule.register([{ name: 'asserted', transport: Transport.GRPC, options: { ...base, url: asserted } }]),
  ClientsModule.register([{ name: 'empty', transport: Transport.GRPC, options: { ...base, url: process.env.URL ?? '' } }]),
  ClientsModule.register([{ name: 'nothing', transport: Transport.GRPC, options: { ...base, url: '' } }]),
  ClientsModule.register([{ name: 'undefined', transport: Transport.GRPC, options: { ...base, url: undefined } }]),
  ClientsModule.register([{ name: 'config', transport: Transport.GRPC, options: { ...base, url: config.get('URL') } }]),
  ClientsModule.register([{ name: 'optional', transport: Transport.GRPC, options: { ...optional('a') } }]),
];
`,
    after: `import { ResilientGrpcModule } from 'nestjs-resilient-grpc';

declare class ConfigService {
  // The type is \`any\`, as in Nest's ConfigService.
  get(key: string, fallback?: string): any;
  getOrThrow(key: string): any;
}
declare const config: ConfigService;
declare function required(name: string): { url: string; package: string; protoPath: string };
declare function optional(name: string): { url?: string; package: string; protoPath: string };
const { env } = process;
const base = { package: 'p', protoPath: 'p.proto' };
const fixed = process.env.URL ?? 'a:1';
const asserted = process.env.URL as string;

export const clients = [
  ResilientGrpcModule.forFeature([{ name: 'literal', ...base, url: 'a:1' }]),
  ResilientGrpcModule.forFeature([{ name: 'template', ...base, url: \`\${process.env.HOST}:1\` }]),
  ResilientGrpcModule.forFeature([{ name: 'sum', ...base, url: process.env.HOST + ':1' }]),
  ResilientGrpcModule.forFeature([{ name: 'nullish', ...base, url: process.env.URL ?? 'a:1' }]),
  ResilientGrpcModule.forFeature([{ name: 'or', ...base, url: process.env.URL || 'a:1' }]),
  ResilientGrpcModule.forFeature([{ name: 'condition', ...base, url: process.env.TEST ? 'a:1' : 'b:1' }]),
  ResilientGrpcModule.forFeature([{ name: 'constant', ...base, url: fixed }]),
  ResilientGrpcModule.forFeature([{ name: 'thrown', ...base, url: config.getOrThrow('URL') }]),
  ResilientGrpcModule.forFeature([{ name: 'fallback', ...base, url: config.get('URL', 'a:1') }]),
  ResilientGrpcModule.forFeature([{ name: 'property', ...required('a') }]),
  ResilientGrpcModule.forFeature([{ name: 'replaced', ...optional('a'), url: 'a:1' }]),
  ResilientGrpcModule.forFeature([{ name: 'variable', ...base, url: env.URL || 'localhost:5000' }]),
  ResilientGrpcModule.forFeature([{ name: 'sure', ...base, url: process.env.URL! || 'localhost:5000' }]),
  ResilientGrpcModule.forFeature([{ name: 'asserted', ...base, url: asserted || 'localhost:5000' }]),
  ResilientGrpcModule.forFeature([{ name: 'empty', ...base, url: (process.env.URL ?? '') || 'localhost:5000' }]),
  ResilientGrpcModule.forFeature([{ name: 'nothing', ...base, url: 'localhost:5000' }]),
  ResilientGrpcModule.forFeature([{ name: 'undefined', ...base, url: 'localhost:5000' }]),
  ResilientGrpcModule.forFeature([{ name: 'config', ...base, url: config.get('URL') || 'localhost:5000' }]),
  ResilientGrpcModule.forFeature([{ name: 'optional', ...optional('a'), url: optional('a').url || 'localhost:5000' }]),
];
`,
  },
  {
    path: 'src/overrides.ts',
    before: `import { ClientsModule, Transport } from '@nestjs/microservices';

declare function overrides(): { url?: string; maxReceiveMessageLength?: number };
declare function required(): { url: string };
const base = { url: 'a:1', package: 'p', protoPath: 'p.proto' };
const isTest = process.env.TEST === '1';

export const clients = ClientsModule.register([
  { name: 'spread', transport: Transport.GRPC, options: { ...base, ...overrides() } },
  { name: 'own-url', transport: Transport.GRPC, options: { url: 'a:1', package: 'p', protoPath: 'p.proto', ...overrides() } },
  { name: 'conditional', transport: Transport.GRPC, options: { ...base, ...(isTest ? { url: 'b:1' } : {}) } },
  { name: 'required', transport: Transport.GRPC, options: { ...base, ...required() } },
  { name: 'last', transport: Transport.GRPC, options: { ...base, ...overrides(), url: 'a:1' } },
]);
`,
    after: `import { Transport } from '@nestjs/microservices';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';

declare function overrides(): { url?: string; maxReceiveMessageLength?: number };
declare function required(): { url: string };
const base = { url: 'a:1', package: 'p', protoPath: 'p.proto' };
const isTest = process.env.TEST === '1';

export const clients = ResilientGrpcModule.forFeature([
  { name: 'spread', transport: Transport.GRPC, options: { ...base, ...overrides() } },
  { name: 'own-url', transport: Transport.GRPC, options: { url: 'a:1', package: 'p', protoPath: 'p.proto', ...overrides() } },
  { name: 'conditional', transport: Transport.GRPC, options: { ...base, ...(isTest ? { url: 'b:1' } : {}) } },
  { name: 'required', ...base, ...required() },
  { name: 'last', ...base, ...overrides(), url: 'a:1' },
]);
`,
  },
  {
    path: 'src/comments.ts',
    before: `// Nest.
import { ClientsModule, Transport } from '@nestjs/microservices'; // beside the import

const base = { package: 'p', protoPath: 'p.proto' };

export const clients = [
  ClientsModule.register([{ name: 'one', transport: Transport.GRPC, options: { ...base, url: 'a:1' } }]), // beside one
  // above mixed
  ClientsModule.register([
    { name: 'tcp', transport: Transport.TCP, options: { port: 1 } }, // beside tcp
    /* before two */ { name: 'two', transport: Transport.GRPC, options: { ...base, url: 'a:1' } } /* after two */,
    { name: 'log', transport: Transport.KAFKA, options: {} }, // beside log
  ]), // beside mixed
  ClientsModule.register([
    {
      name: 'three', // beside name
      transport: Transport.GRPC, // beside transport
      // above options
      options: {
        url: 'a:1', // beside url
        maxMetadataSize: 5, // beside maxMetadataSize
        ...base, // beside base
      }, // beside options
    }, // beside three
  ]),
  ClientsModule.register({
    isGlobal: true, // beside isGlobal
    // above clients
    clients: [
      { name: 'four', transport: Transport.GRPC, options: { ...base, url: 'a:1' } }, // beside four
    ], // beside clients
  }), // beside global
  ClientsModule.registerAsync([
    {
      name: 'five', // beside name
      useFactory: () => ({
        transport: Transport.GRPC, // beside transport
        options: {
          url: 'a:1', // beside url
          // above package
          package: 'p', // beside package
          protoPath: 'p.proto', // beside protoPath
        },
      }), // beside factory
    },
  ]), // beside async
];
`,
    after: `// Nest.
import { ClientsModule, Transport } from '@nestjs/microservices'; // beside the import
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';

const base = { package: 'p', protoPath: 'p.proto' };

export const clients = [
  ResilientGrpcModule.forFeature([{ name: 'one', ...base, url: 'a:1' }]), // beside one
  // above mixed
  ClientsModule.register([
    { name: 'tcp', transport: Transport.TCP, options: { port: 1 } }, // beside tcp
    { name: 'log', transport: Transport.KAFKA, options: {} }, // beside log
  ]), // beside mixed
  ResilientGrpcModule.forFeature([
    /* before two */ { name: 'two', ...base, url: 'a:1' } /* after two */,
  ]),
  ResilientGrpcModule.forFeature([
    {
      name: 'three', // beside name
      // above options
      url: 'a:1', // beside url
      maxMetadataSize: 5, // beside maxMetadataSize
      ...base, // beside base
      // beside options
    }, // beside three
  ]),
  ResilientGrpcModule.forFeature([
    // above clients
    // beside clients
    { name: 'four', ...base, url: 'a:1' }, // beside four
  ], {
    isGlobal: true, // beside isGlobal
  }), // beside global
  ResilientGrpcModule.forFeatureAsync([
    {
      name: 'five', // beside name
      // above package
      package: 'p', // beside package
      protoPath: 'p.proto', // beside protoPath
      useFactory: () => ({
        url: 'a:1', // beside url
      }), // beside factory
    },
  ]), // beside async
];
`,
  },
];
