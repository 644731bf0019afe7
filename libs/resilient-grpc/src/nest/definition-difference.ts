import { describeSecret, describeValue, pathOf } from '../policy/options/describe-value.js';
import { isPlainObject } from '../policy/options/plain-object.js';
import type { Services } from '../client/settings/contract.js';

/** Definition of a client, with its settings as given. */
export interface DefinedClient {
  readonly contract: Readonly<Record<string, unknown>>;
  readonly services: Services;
  readonly settings: unknown;
}

const SECRET_PATH = /(?:^|\.)(?:tls|credentials|metadata)(?:\.|\[|$)|http_connect_creds/;

/** Returns the differences between two definitions of one client, such as 'timeoutMs (1000 and 2000)'; empty if they are equal. */
export function definitionDifferences(first: DefinedClient, second: DefinedClient): readonly string[] {
  const { packageDefinition: one, ...firstContract } = first.contract;
  const { packageDefinition: two, ...secondContract } = second.contract;
  const differences = [
    ...differingPaths(firstContract, secondContract, ''),
    ...differingPaths(first.settings, second.settings, ''),
  ];
  // Loading one file twice creates two objects, so their methods are compared.
  if (one !== two && signature(first.services) !== signature(second.services)) differences.push('packageDefinition');
  return differences;
}

function differingPaths(a: unknown, b: unknown, path: string): string[] {
  if (Object.is(a, b)) return [];
  if (Buffer.isBuffer(a) && Buffer.isBuffer(b)) return a.equals(b) ? [] : [described(path, a, b)];
  if (isPlainObject(a) && isPlainObject(b)) {
    const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
    return [...keys].flatMap((key) => differingPaths(a[key], b[key], path === '' ? key : pathOf(path, key)));
  }
  if (Array.isArray(a) && Array.isArray(b) && a.length === b.length) {
    return a.flatMap((one: unknown, index) => differingPaths(one, b[index], pathOf(path, index)));
  }
  return [described(path, a, b)];
}

function described(path: string, a: unknown, b: unknown): string {
  const describe = SECRET_PATH.test(path) ? describeSecret : describeValue;
  return `${path === '' ? 'settings' : path} (${describe(a)} and ${describe(b)})`;
}

function signature(services: Services): string {
  return [...services.values()]
    .flatMap((methods) =>
      [...methods.values()].map((one) => `${one.path} ${one.kind} ${String(one.declaredIdempotent)}`),
    )
    .sort()
    .join('\n');
}
