import { CONTRACT_KEYS, loadContract, type Services } from '../client/settings/contract.js';
import { problemMessage } from '../policy/options/describe-value.js';
import { isObject } from '../policy/options/option-schemas.js';
import { copyOptions, unreadable } from '../client/settings/copy-options.js';
import { settingsProblems } from '../client/settings/resolve-settings.js';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { clientLabel } from './grpc-tokens.js';
import { flattenNestOptions, withDefaultUrl, withoutServerOptions } from './nest-grpc-options.js';

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

// Kept for the whole process, because a test may override a service before any application exists.
const defined = new Map<string | symbol, Services>();

export function recordDefinitions(definitions: readonly ClientDefinition[]): void {
  for (const { name, services } of definitions) {
    defined.set(name, new Map([...(defined.get(name) ?? []), ...services]));
  }
}

/** Returns the services of a client that a forFeature() call of this process defines; `undefined` if none does. */
export function definedServices(client: string | symbol): Services | undefined {
  return defined.get(client);
}

/** Maximum length of a client name in characters; the name is part of each log line. */
const MAX_NAME_LENGTH = 200;

type Defined =
  | { readonly ok: true; readonly definitions: readonly ClientDefinition[] }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] };

/** Defines the clients of one forFeature(), forFeatureAsync(), or create() call, or returns every problem if a definition is invalid. */
export function defineClients(clients: unknown, kind: 'sync' | 'async', callSite: string): Defined {
  if (!Array.isArray(clients)) {
    return { ok: false, problems: [{ path: 'clients', message: problemMessage('an array of clients', clients) }] };
  }
  const problems: ConfigurationProblem[] = [];
  const definitions: ClientDefinition[] = [];
  // If only settings are invalid, the problems are reported at startup, because a test may still override the settings.
  const deferredProblems: ConfigurationProblem[] = [];
  const names = new Set<string | symbol>();
  for (const [index, client] of (clients as readonly unknown[]).entries()) {
    const read = readClient(client, index, kind);
    problems.push(...read.problems);
    if (read.name === undefined) continue;
    const { name, path, options } = read;
    if (names.has(name)) problems.push({ path, message: 'defined twice in one call; remove or rename one of them' });
    names.add(name);
    const isContractKey = (key: string): boolean => (CONTRACT_KEYS as readonly string[]).includes(key);
    const contract = Object.fromEntries(Object.entries(options).filter(([key]) => isContractKey(key)));
    const settings = Object.fromEntries(Object.entries(options).filter(([key]) => !isContractKey(key)));
    if (kind === 'async') problems.push(...sourceProblems(settings, path));
    else deferredProblems.push(...settingsProblems(settings, path));
    const loaded = loadContract(contract, path);
    if (!loaded.ok) {
      problems.push(...loaded.problems);
      continue;
    }
    const own = { name, label: clientLabel(name), path, services: loaded.services, contract, callSite };
    // The cast is safe: `readClient` accepts only objects.
    definitions.push({ ...own, settings: kind === 'sync' ? settings : undefined, source: client as object });
  }
  return problems.length > 0 ? { ok: false, problems: [...problems, ...deferredProblems] } : { ok: true, definitions };
}

const SOURCE_KEYS: readonly string[] = ['imports', 'inject', 'useFactory', 'useClass', 'useExisting'];

/** Returns the problems of the options next to the contract of an async client. */
function sourceProblems(source: Readonly<Record<string, unknown>>, path: string): ConfigurationProblem[] {
  const unknownKeys = Object.keys(source).filter((key) => !SOURCE_KEYS.includes(key));
  const message = 'unknown option next to a factory; return it from the factory';
  return unknownKeys.map((key) => ({ path: `${path}.${key}`, message }));
}

/**
 * Copies the options of one client to plain data, and flattens Nest's form. `name` is `undefined` if the options are not an object, or
 * have no valid name.
 */
function readClient(client: unknown, index: number, kind: 'sync' | 'async') {
  const at = `clients[${String(index)}]`;
  let copied: unknown;
  try {
    copied = copyOptions(client);
  } catch (error) {
    return { name: undefined, problems: [unreadable(at, error)] };
  }
  if (!isObject(copied)) {
    return { name: undefined, problems: [{ path: at, message: problemMessage('an object', copied) }] };
  }
  const { name, ...given } = copied as Readonly<Record<string, unknown>>;
  if (typeof name !== 'symbol' && !(typeof name === 'string' && name !== '' && name.length <= MAX_NAME_LENGTH)) {
    const message = problemMessage(`a symbol or a string of 1 to ${String(MAX_NAME_LENGTH)} characters`, name);
    return { name: undefined, problems: [{ path: `${at}.name`, message }] };
  }
  const path = `clients.${clientLabel(name)}`;
  const flat = flattenNestOptions(given, path);
  // The factory of an async client supplies its `url`.
  const options = withoutServerOptions(kind === 'sync' ? withDefaultUrl(flat) : flat.options);
  return { name, path, options, problems: flat.problems };
}
