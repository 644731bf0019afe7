import type { TestingModule, TestingModuleBuilder } from '@nestjs/testing';
import type { GrpcClientDefaults, GrpcClientSettings } from '../client/settings/client-options.js';
import { findService, shortName } from '../client/settings/contract.js';
import { joinSettings } from '../client/settings/join-settings.js';
import type { ClientRegistry } from '../nest/client-registry.js';
import { GrpcClients } from '../nest/grpc-clients.js';
import {
  clientLabel,
  getGrpcClientSettingsToken,
  getGrpcServiceToken,
  givenSettingsToken,
} from '../nest/grpc-tokens.js';
import { definedServices } from '../nest/client-definition.js';
import { COPIES_REMEDY, copiesIn } from '../nest/resilient-grpc-core.module.js';
import { defined } from '../policy/options/describe-value.js';

type Settings = Partial<GrpcClientSettings>;
type Overrides = Map<string | symbol, readonly Settings[]>;

/**
 * Maximum time in milliseconds that the drain of the application gives to open calls. It is shorter than the hook timeouts of test runners,
 * which are 5 s or 10 s.
 */
const MAX_DRAIN_MS = 1_000;

const overridesByBuilder = new WeakMap<TestingModuleBuilder, Overrides>();

/**
 * Overrides settings of a gRPC client in a Nest testing module, for example `{ url: server.url }`. The overrides are merged into the
 * application's settings in the same way as those settings are merged into the defaults of forRoot: key by key, ignoring `undefined`. In
 * addition, `methods` is merged by pattern. `compile()` fails if no forFeature or forFeatureAsync defines the client. Returns the builder.
 *
 * When the application closes, its clients give open calls at most 1 s, so that a call that a test leaves open does not block the hook that
 * closes the application. `failOnLeaks` reports the calls that are cut off.
 */
export function overrideGrpcClient(
  builder: TestingModuleBuilder,
  client: string | symbol,
  settings: Partial<GrpcClientSettings>,
): TestingModuleBuilder {
  const overrides = overridesOf(builder);
  const all = [...(overrides.get(client) ?? []), settings];
  overrides.set(client, all);
  return builder.overrideProvider(getGrpcClientSettingsToken(client)).useFactory({
    inject: [givenSettingsToken(client)],
    factory: (configured: unknown) => all.reduce(joined, configured),
  });
}

/**
 * Overrides a service of a gRPC client in a Nest testing module, for example with a `fakeGrpcService()`. `service` is its short name
 * 'Orders' or its full name 'orders.v1.Orders'. All injections of the service receive `fake`; `client.getService()` still returns the real
 * service. Returns the builder.
 * @throws GrpcConfigurationError if the client has no such service
 * @throws Error if no forFeature or forFeatureAsync defines the client
 */
export function overrideGrpcService(
  builder: TestingModuleBuilder,
  client: string | symbol,
  service: string,
  fake: object,
): TestingModuleBuilder {
  const services = definedServices(client);
  if (services === undefined) throw new Error(missingClient('overrideGrpcService', client));
  // Another application of this process may define a client of the same name with a service of this name in another package.
  const names = [...services.keys()].filter((full) => full === service || shortName(full) === service);
  // Throws, because there is none.
  if (names.length === 0) findService(services, service, clientLabel(client));
  for (const full of names) builder.overrideProvider(getGrpcServiceToken(client, full)).useValue(fake);
  return builder;
}

function missingClient(method: string, client: string | symbol): string {
  return `${method}: no gRPC client '${clientLabel(client)}'; import ResilientGrpcModule.forFeature([...]) in the module under test`;
}

function overridesOf(builder: TestingModuleBuilder): Overrides {
  const known = overridesByBuilder.get(builder);
  if (known !== undefined) return known;
  const overrides: Overrides = new Map();
  overridesByBuilder.set(builder, overrides);
  // Nest ignores overrides of tokens without a provider. Without this check, calls would reach the real server if the name were misspelled.
  const compile = builder.compile.bind(builder);
  builder.compile = async (options) => {
    const compiled = await compile(options);
    try {
      for (const client of overrides.keys()) registryOf(compiled, client).maxDrainMs = MAX_DRAIN_MS;
    } catch (error) {
      await compiled.close();
      throw error;
    }
    return compiled;
  };
  return overrides;
}

/** Returns the clients of the application. @throws Error if it does not define `client` */
function registryOf(compiled: TestingModule, client: string | symbol): ClientRegistry {
  const copies = copiesIn(compiled);
  let registry: ClientRegistry | undefined;
  try {
    // Safe cast: `ClientRegistry` is the only implementation of `GrpcClients`.
    registry = compiled.get<GrpcClients, ClientRegistry>(GrpcClients, { strict: false });
    registry.get(client);
    return registry;
  } catch (error) {
    if (copies > (registry === undefined ? 0 : 1)) {
      throw new Error(
        `overrideGrpcClient: no gRPC client '${clientLabel(client)}' in this copy of nestjs-resilient-grpc; the module uses another copy; ${COPIES_REMEDY}`,
      );
    }
    if (registry !== undefined) throw error;
    throw new Error(missingClient('overrideGrpcClient', client));
  }
}

/** Merges the override `over` into `given`. `given` may come from a factory; if it is not an object, client creation reports it. */
function joined(given: unknown, over: Settings): unknown {
  if (typeof given !== 'object' || given === null) return given;
  // Safe cast: client creation validates the merged settings.
  const base = given as GrpcClientDefaults & Settings;
  const methods = joinedMethods(base.methods, over.methods);
  // Safe cast: client creation also reports a missing URL.
  const url = (over.url ?? base.url) as string;
  return { ...joinSettings(base, { ...over, url }), ...(methods === undefined ? {} : { methods }) };
}

function joinedMethods(base: Settings['methods'], over: Settings['methods']): Settings['methods'] {
  if (base === undefined || over === undefined) return over ?? base;
  const patterns = Object.entries(over).map(
    ([pattern, options]) => [pattern, { ...base[pattern], ...defined(options) }] as const,
  );
  return { ...base, ...Object.fromEntries(patterns) };
}
