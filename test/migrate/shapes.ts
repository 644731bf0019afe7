/** A file with gRPC clients, before its migration, and the lines that change. */
export interface Shape {
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

/** A shape whose migration replaces each text on the left with the one on the right. */
function shape(path: string, before: string, replaced: readonly (readonly [string, string])[]): Shape {
  const after = replaced.reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`${path} has no ${from}`);
    return text.replaceAll(from, to);
  }, before);
  return { path, before, after };
}

const CALL = ['ClientsModule.register(', 'ResilientGrpcModule.forFeature('] as const;
const ASYNC_CALL = ['ClientsModule.registerAsync(', 'ResilientGrpcModule.forFeatureAsync('] as const;
const EXPORTS = ['exports: [ClientsModule]', 'exports: [ResilientGrpcModule]'] as const;

export const SHAPES: readonly Shape[] = [
  shape(
    'src/literal.ts',
    `import { Module } from '@nestjs/common';
import { ClientsModule, Transport } from '@nestjs/microservices'; // beside the import

@Module({
  imports: [
    // All clients.
    ClientsModule.register([
      {
        name: 'orders',
        transport: Transport.GRPC,
        // How to reach it.
        options: {
          url: process.env.ORDERS_URL,
          package: ['orders.v1'], // one of them
          protoPath: 'orders.proto',
          keepalive: { keepaliveTimeMs: 20_000, http2MaxPingsWithoutData: 0 },
          maxMetadataSize: 16_384,
        },
      },
    ]), // beside the call
  ],
  exports: [ClientsModule],
})
export class LiteralModule {}
`,
    [
      [
        "import { ClientsModule, Transport } from '@nestjs/microservices'; // beside the import",
        "import { Transport } from '@nestjs/microservices'; // beside the import\nimport { ResilientGrpcModule } from 'nestjs-resilient-grpc';",
      ],
      ['    ClientsModule.register(', '    ResilientGrpcModule.forFeature('],
      ['  exports: [ClientsModule],', '  exports: [ResilientGrpcModule],'],
    ],
  ),
  shape(
    'src/global.ts',
    `import * as nest from '@nestjs/microservices';
import { type Resilient } from "nestjs-resilient-grpc";

export const ITEMS = Symbol('items');
export type Items = Resilient<object>;
const items = { package: 'items', protoPath: 'items.proto' };

export const global = nest.ClientsModule.register({
  isGlobal: true,
  clients: [
    { name: ITEMS, transport: nest.Transport.GRPC, options: { ...items, url: 'a:1' } },
    { transport: nest.Transport.GRPC, options: items, name: 'local' },
  ],
});
`,
    [
      ['{ type Resilient }', '{ type Resilient, ResilientGrpcModule }'],
      ['nest.ClientsModule.register({\n  isGlobal: true,\n  clients: ', 'ResilientGrpcModule.forFeature('],
      ['],\n});', '], { isGlobal: true });'],
    ],
  ),
  shape(
    'src/constants.ts',
    `import { ClientsModule as Clients, Transport, type ClientOptions, type GrpcOptions } from '@nestjs/microservices';

const annotated: GrpcOptions = { transport: Transport.GRPC, options: { package: 'a', protoPath: 'a.proto' } };
const client: ClientOptions = { transport: Transport.GRPC, options: { package: 'b', protoPath: 'b.proto' } };
const list = [{ name: 'c', ...annotated }];

export const clients = [
  Clients.register([{ name: 'a', ...annotated }]),
  Clients.register([{ ...client, name: 'b' }]),
  Clients.register([...list, { name: 'd', ...annotated, options: { ...annotated.options, maxMetadataSize: 5 } }]),
];
`,
    [
      ['import { ClientsModule as Clients, Transport,', 'import { Transport,'],
      [
        "from '@nestjs/microservices';\n",
        "from '@nestjs/microservices';\nimport { ResilientGrpcModule } from 'nestjs-resilient-grpc';\n",
      ],
      ['Clients.register(', CALL[1]],
    ],
  ),
  shape(
    'src/factories.ts',
    `import { join } from 'node:path';
import { Injectable, Module } from '@nestjs/common';
import { ClientsModule, Transport, type ClientProvider } from '@nestjs/microservices';

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
    name: 'first', // beside the name
    imports: [ConfigModule],
    inject: [Config],
    useFactory: async (config: Config): Promise<ClientProvider> => ({
      transport: Transport.GRPC,
      options: {
        url: config.url(),
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
      return { transport: Transport.GRPC, options: { url: \`second:\${port}\`, package: 'second', protoPath: 'second.proto' } };
    },
  },
  {
    name: 'third',
    useFactory: () => ({ transport: Transport.GRPC, options: { package: [THIRD], protoPath: join(__dirname, \`\${THIRD}.proto\`), loader: { longs: String } } }),
  },
]);

@Module({ imports: [clients], exports: [ClientsModule] })
export class FactoriesModule {}
`,
    [
      [
        "import { ClientsModule, Transport, type ClientProvider } from '@nestjs/microservices';",
        "import { ResilientGrpcModule } from 'nestjs-resilient-grpc';",
      ],
      ASYNC_CALL,
      [
        "    useFactory: async (config: Config): Promise<ClientProvider> => ({\n      transport: Transport.GRPC,\n      options: {\n        url: config.url(),\n        package: 'first',\n        protoPath: 'first.proto',\n        maxSendMessageLength: 1_024,\n      },\n    }),",
        "    package: 'first', protoPath: 'first.proto', useFactory: async (config: Config) => ({ url: config.url() || 'localhost:5000', maxSendMessageLength: 1_024 }),",
      ],
      ['    useFactory() {', "    package: 'second', protoPath: 'second.proto', useFactory() {"],
      [
        "{ transport: Transport.GRPC, options: { url: `second:${port}`, package: 'second', protoPath: 'second.proto' } }",
        '{ url: `second:${port}` }',
      ],
      [
        '    useFactory: () => ({ transport: Transport.GRPC, options: { package: [THIRD], protoPath: join(__dirname, `${THIRD}.proto`), loader: { longs: String } } }),',
        "    package: [THIRD], protoPath: join(__dirname, `${THIRD}.proto`), loader: { longs: String }, useFactory: () => ({ url: 'localhost:5000' }),",
      ],
      EXPORTS,
    ],
  ),
];

/** Code that migrate must list. Each listed call, or the line after it, ends with a comment that is its key in the expected list. */
export const BY_HAND = `import { Injectable, Module } from '@nestjs/common';
import { Client, ClientProxyFactory, ClientsModule, Transport } from '@nestjs/microservices';
import type { ClientGrpc, ClientProvider, ClientsModuleOptions, GrpcOptions } from '@nestjs/microservices';

const options = { url: 'a:1', package: 'a', protoPath: 'a.proto' };
declare function protoOf(name: string): string;
declare function optionsFrom(file: string): ClientProvider;
declare function listFrom(file: string): ClientsModuleOptions;
const shared: GrpcOptions = { transport: Transport.GRPC, options };

export class Gateway {
  @Client({ transport: Transport.GRPC, options }) // decorator
  client!: ClientGrpc;
  @Client({ transport: Transport.TCP })
  mails!: unknown;
}

export const proxy = ClientProxyFactory.create({ transport: Transport.GRPC, options }); // proxy
export const mail = ClientProxyFactory.create({ transport: Transport.TCP });

@Injectable()
class Config {
  get(key: string): string {
    return process.env[key] ?? '';
  }
  createClientOptions(): GrpcOptions {
    return { transport: Transport.GRPC, options };
  }
}

const { GRPC, TCP } = Transport;

@Module({
  imports: [
    ClientsModule.register(listFrom('clients.json')), // list
    ClientsModule.register([...(listFrom('clients.json') as never[])]), // spread
    ClientsModule.register([{ name: 'e', ...optionsFrom('e.json') }]), // unknown
    ClientsModule.register([{ name: 'h', transport: Transport.GRPC, options }, { name: 'i', transport: Transport.TCP }]), // mixed
    ClientsModule.register({ /* all */ isGlobal: true, clients: [{ name: 'c', ...shared }] }), // comments
    ClientsModule.registerAsync([{ name: 'd', inject: [Config], useFactory: (config: Config) => ({ transport: Transport.GRPC, options: { url: 'a:1', package: config.get('PACKAGE') } }) }]), // computed
    ClientsModule.registerAsync([{ name: 'l', useFactory: () => ({ transport: Transport.GRPC, options: { url: 'a:1', package: 'a', protoPath: process.env.PROTO! } }) }]), // environment
    ClientsModule.registerAsync([{ name: 'm', useFactory: () => ({ transport: Transport.GRPC, options: { ...options } }) }]), // nested
    ClientsModule.registerAsync([{ name: 'n', useFactory: () => shared }]), // elsewhere
    ClientsModule.registerAsync([{ name: 'o', useFactory: () => ({ transport: Transport.GRPC, options: { url: 'a:1' /* o */, package: 'a', protoPath: 'a.proto' } }) }]), // lost
    ClientsModule.registerAsync([{ name: 'p', useClass: Config }]), // class
    ClientsModule.registerAsync([{ name: 's', useFactory: () => ({ transport: Transport.GRPC, options: { package: 'a', protoPath: 'a.proto' } }) }, { name: 't', useFactory: () => ({ transport: Transport.GRPC, options: { package: 'a', protoPath: protoOf('a') } }) }]), // helper
    ClientsModule.registerAsync([{ name: 'q', useFactory: () => ({ transport: Transport.TCP, options: {} }) }]),
    ClientsModule.registerAsync([{ name: 'r', useFactory() { return { transport: Transport.TCP, options: {} }; } }]),
  ],
})
export class AppModule {}
export const unused = [GRPC, TCP];
`;

/** The remarks about `BY_HAND`, by key: the start of each. */
export const REMARKS: Readonly<Record<string, string>> = {
  decorator:
    "@Client(): define the client with ResilientGrpcModule.forFeature() in the module, and inject it with @Inject('<name>')",
  proxy: 'ClientProxyFactory.create(): define the client with ResilientGrpcModule.forFeature(), or inject GrpcClients',
  list: 'the list of clients is known only at run time; call ResilientGrpcModule',
  spread: 'the list of clients is known only at run time; call ResilientGrpcModule',
  unknown:
    'e: the transport is known only at run time; if it is gRPC, move the entry to ResilientGrpcModule.forFeature()',
  mixed: 'h: shares the call with other transports (i); move the entry to ResilientGrpcModule.forFeature()',
  comments: 'comments beside `clients`, which a rewrite would lose',
  computed: "d: has a contract that its factory computes (package: config.get('PACKAGE'))",
  environment: 'l: has a contract that its factory computes (protoPath: process.env.PROTO!)',
  nested: 'm: has ...options in its factory',
  elsewhere: 'n: has a factory that does not return one { transport: Transport.GRPC, options: { … } }',
  lost: 'o: has comments in the result of its factory, which a rewrite would lose',
  helper: "s, t: share a call, in which t has a contract that its factory computes (protoPath: protoOf('a'))",
  class: 'p: has useClass; implement createGrpcClientOptions() in its class',
};
