import { CONTRACT_KEYS, loadContract, type Services } from '../client/settings/contract.js';
import { describeValue } from '../policy/options/describe-value.js';
import { copyOptions, unreadable } from '../client/settings/copy-options.js';
import { settingsProblems } from '../client/settings/resolve-settings.js';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { clientLabel } from './grpc-tokens.js';
import { flattenNestOptions, withDefaultUrl, withoutServerOptions } from './nest-grpc-options.js';
import { SOURCE_KEYS, asyncSourceProblems } from './module-options.validation.js';

/** Static part of a client, as defined by forFeature(), forFeatureAsync(), or create(). */
export interface ClientDefinition {
  readonly name: string | symbol;
  /** Readable name. */
  readonly label: string;
  /** Path of the client in configuration problems, such as 'clients.orders'. */
  readonly path: string;
  readonly services: Services;
  /** Contract options, as given. */
  readonly contract: Readonly<Record<string, unknown>>;
  /** Settings as given; `undefined` for a client of forFeatureAsync(). */
  readonly settings: Readonly<Record<string, unknown>> | undefined;
  /**
   * The options object as given. Definitions from the same object count as equal, even if its factory returns different settings for each
   * module.
   */
  readonly source: object;
  /** 'file:line' of the call that defined the client. */
  readonly callSite: string;
}

/** Maximum length of a client name in characters; the name is part of each log line. */
const MAX_NAME_LENGTH = 200;

const MISSING_BESIDE_FACTORY =
  "expected a .proto file next to `name`, got nothing; write { name: 'orders', protoPath: 'orders.proto', useFactory }; " +
  "`packageDefinition`, `package`, and `loader` also belong next to `name`; the factory returns `url` and the other settings, without Nest's `transport` and `options`";

type Defined =
  | { readonly ok: true; readonly definitions: readonly ClientDefinition[] }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] };

/** Defines the clients of one forFeature(), forFeatureAsync(), or create() call, or returns every problem if a definition is invalid. */
export function defineClients(clients: unknown, kind: 'sync' | 'async', callSite: string): Defined {
  try {
    return defineReadable(clients, kind, callSite);
  } catch (error) {
    return { ok: false, problems: [unreadable('clients', error)] };
  }
}

function defineReadable(clients: unknown, kind: 'sync' | 'async', callSite: string): Defined {
  if (!Array.isArray(clients)) {
    const message = `expected an array of clients, got ${describeValue(clients)}; write [{ name: 'orders', url, protoPath }]`;
    return { ok: false, problems: [{ path: 'clients', message }] };
  }
  const problems: ConfigurationProblem[] = [];
  const definitions: ClientDefinition[] = [];
  // If only settings are invalid, the problems are reported at startup, because a test may still override the settings.
  const deferredProblems: ConfigurationProblem[] = [];
  const names = new Set<string | symbol>();
  for (const [index, client] of (clients as readonly unknown[]).entries()) {
    const options = namedOptions(client, index, kind, problems);
    if (options === undefined) continue;
    if (names.has(options.name)) {
      problems.push({
        path: pathOfClient(options.name),
        message: 'defined twice in one call; remove or rename one of them',
      });
    }
    names.add(options.name);
    const { name } = options;
    const path = pathOfClient(name);
    const { contract, settings } = splitOptions(options);
    if (kind === 'async') problems.push(...sourceProblems(options, settings, path));
    else deferredProblems.push(...settingsProblems(settings, path));
    if (kind === 'async' && contract['protoPath'] === undefined && contract['packageDefinition'] === undefined) {
      problems.push({ path: `${path}.protoPath`, message: MISSING_BESIDE_FACTORY });
      continue;
    }
    const loaded = loadContract(contract, path);
    if (!loaded.ok) {
      problems.push(...loaded.problems);
      continue;
    }
    const { services } = loaded;
    const own = { name, label: clientLabel(name), path, services, contract, callSite };
    // The cast is safe: `namedOptions` accepts only objects.
    definitions.push({ ...own, settings: kind === 'sync' ? settings : undefined, source: client as object });
  }
  return problems.length > 0 ? { ok: false, problems: [...problems, ...deferredProblems] } : { ok: true, definitions };
}

/** Returns the path of a client in the reported problems, such as 'clients.orders'. */
function pathOfClient(name: string | symbol): string {
  return `clients.${clientLabel(name)}`;
}

function sourceProblems(
  options: object,
  settings: Readonly<Record<string, unknown>>,
  path: string,
): ConfigurationProblem[] {
  const unknownKeys = Object.keys(settings).filter((key) => !(SOURCE_KEYS as readonly string[]).includes(key));
  return [
    ...unknownKeys.map((key) => ({
      path: `${path}.${key}`,
      message: 'unknown option next to a factory; return it from the factory',
    })),
    ...asyncSourceProblems(options, path),
  ];
}

/**
 * Copies the options of one client to plain data, and flattens Nest's form. Adds their problems to `problems`. Returns `undefined` if the
 * options are not an object, cannot be read, or have no valid name.
 */
function namedOptions(
  client: unknown,
  index: number,
  kind: 'sync' | 'async',
  problems: ConfigurationProblem[],
): { readonly name: string | symbol } | undefined {
  const path = `clients[${String(index)}]`;
  if (typeof client !== 'object' || client === null) {
    problems.push({
      path,
      message: `expected an object, got ${describeValue(client)}; write { name: 'orders', url, protoPath }`,
    });
    return undefined;
  }
  const name = nameOf(client);
  const isName =
    (typeof name === 'string' && name !== '' && name.length <= MAX_NAME_LENGTH) || typeof name === 'symbol';
  const copied = copyOptions(client, isName ? pathOfClient(name) : path);
  if (!copied.ok) {
    problems.push(...copied.problems);
    return undefined;
  }
  if (isName) {
    // The cast is safe: an object was copied.
    const flat = flattenNestOptions(copied.value as object, pathOfClient(name));
    problems.push(...flat.problems);
    // The factory of an async client supplies its `url`.
    const options = kind === 'sync' ? withDefaultUrl(flat) : flat.options;
    // The checked name is kept, because a getter can return a different name later.
    return { ...withoutServerOptions(options), name };
  }
  const expected = `expected a symbol or a string of 1 to ${String(MAX_NAME_LENGTH)} characters`;
  problems.push({ path: `${path}.name`, message: `${expected}, got ${describeValue(name)}; write name: 'orders'` });
  return undefined;
}

/** Returns the name; `undefined` if it cannot be read, which `copyOptions` reports. */
function nameOf(client: object): unknown {
  try {
    return Reflect.get(client, 'name');
  } catch {
    return undefined;
  }
}

/** Splits the flat options of a client into contract and settings. */
function splitOptions(options: object): {
  readonly contract: Record<string, unknown>;
  readonly settings: Record<string, unknown>;
} {
  const contract: Record<string, unknown> = {};
  const settings: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(options)) {
    if (key === 'name') continue;
    if ((CONTRACT_KEYS as readonly string[]).includes(key)) contract[key] = value;
    else settings[key] = value;
  }
  return { contract, settings };
}
