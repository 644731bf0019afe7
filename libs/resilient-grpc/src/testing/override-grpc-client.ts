import type { TestingModule, TestingModuleBuilder } from '@nestjs/testing';
import type { GrpcClientDefaults, GrpcClientSettings } from '../client/settings/client-options.js';
import { joinSettings } from '../client/settings/join-settings.js';
import { GrpcClients } from '../nest/grpc-clients.js';
import { clientLabel, getGrpcClientSettingsToken, givenSettingsToken } from '../nest/grpc-tokens.js';

type Settings = Partial<GrpcClientSettings>;
type Overrides = Map<string | symbol, readonly Settings[]>;

const OVERRIDES = new WeakMap<TestingModuleBuilder, Overrides>();

/**
 * The same client with other settings, as `{ url: server.url }`. They stand over what the application configures as that stands over
 * the defaults of forRoot: key by key, `methods` by pattern, and what is undefined says nothing. `compile()` fails where no forFeature
 * or forFeatureAsync defines the client. Returns the builder.
 * @throws TypeError for settings that are none
 */
export function overrideGrpcClient(
  builder: TestingModuleBuilder,
  client: string | symbol,
  settings: Partial<GrpcClientSettings>,
): TestingModuleBuilder {
  // Not trusted: from JavaScript, or from a server that was never started.
  const given: unknown = settings;
  if (typeof given !== 'object' || given === null) {
    const name = clientLabel(client);
    throw new TypeError(`overrideGrpcClient: expected settings of '${name}' like { url }, got ${String(given)}`);
  }
  const overrides = overridesOf(builder);
  const all = [...(overrides.get(client) ?? []), settings];
  overrides.set(client, all);
  return builder.overrideProvider(getGrpcClientSettingsToken(client)).useFactory({
    inject: [givenSettingsToken(client)],
    factory: (configured: unknown) => all.reduce(joined, configured),
  });
}

function overridesOf(builder: TestingModuleBuilder): Overrides {
  const known = OVERRIDES.get(builder);
  if (known !== undefined) return known;
  const overrides: Overrides = new Map();
  OVERRIDES.set(builder, overrides);
  // Nest passes over the override of a token that nobody provides: a slip of the pen would send the test to the real server.
  const compile = builder.compile.bind(builder);
  builder.compile = async (options) => {
    const compiled = await compile(options);
    try {
      for (const client of overrides.keys()) checkDefined(compiled, client);
    } catch (error) {
      await compiled.close();
      throw error;
    }
    return compiled;
  };
  return overrides;
}

function checkDefined(compiled: TestingModule, client: string | symbol): void {
  let clients: GrpcClients;
  try {
    clients = compiled.get(GrpcClients, { strict: false });
  } catch {
    const remedy = 'the module under test imports no ResilientGrpcModule.forFeature([...])';
    throw new Error(`No gRPC client '${clientLabel(client)}' to override; ${remedy}`);
  }
  clients.get(client);
}

/** `given` is what a factory gave, and not trusted: what is no object of settings is told of where clients are made. */
function joined(given: unknown, over: Settings): unknown {
  if (typeof given !== 'object' || given === null) return given;
  // True as far as it is one: what is wrong in it is told of as well.
  const base = given as GrpcClientDefaults & Settings;
  const methods = joinedMethods(base.methods, over.methods);
  // An url that stays undefined is told of.
  const url = (over.url ?? base.url) as string;
  return { ...joinSettings(base, { ...over, url }), ...(methods === undefined ? {} : { methods }) };
}

function joinedMethods(base: Settings['methods'], over: Settings['methods']): Settings['methods'] {
  if (base === undefined || over === undefined) return over ?? base;
  const patterns = Object.entries(over).map(([pattern, options]) => {
    const said = Object.entries(options).filter(([, value]) => value !== undefined);
    return [pattern, { ...base[pattern], ...Object.fromEntries(said) }] as const;
  });
  return { ...base, ...Object.fromEntries(patterns) };
}
