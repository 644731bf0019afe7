import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { closest } from '../../errors/closest.js';
import { type Services, shortName } from './contract.js';
import { pathOf } from '../../policy/options/describe-value.js';

/** Options of one method, merged from all matching patterns. */
export interface OptionsByPattern<T extends object> {
  readonly options: { readonly [K in keyof T]?: Exclude<T[K], undefined> };
  readonly from: { readonly [K in keyof T]?: string };
}

/** Merges the options of all matching patterns. The most specific pattern wins, key by key. */
export function optionsByPattern<T extends object>(
  methods: Readonly<Record<string, T>> | undefined,
  service: string,
  method: string,
): OptionsByPattern<T> {
  const matching = Object.entries(methods ?? {})
    .map(([pattern, options]) => ({ pattern, options, rank: matchMethodPattern(pattern, service, method) }))
    .filter((match): match is typeof match & { rank: number } => match.rank !== undefined)
    .sort((a, b) => a.rank - b.rank);
  const options: Record<string, unknown> = {};
  const from: Record<string, string> = {};
  for (const match of matching) {
    for (const [key, value] of Object.entries(match.options)) {
      if (value === undefined) continue;
      options[key] = value;
      from[key] = match.pattern;
    }
  }
  // Each key was copied from an object of type T.
  return { options, from } as OptionsByPattern<T>;
}

/** Returns a problem for each pattern that matches no method. @param path path of the object that contains `methods` */
export function patternProblems(patterns: readonly string[], services: Services, path: string): ConfigurationProblem[] {
  const methods = [...services.values()].flatMap((one) => [...one.values()]);
  return patterns
    .filter((pattern) => !methods.some((one) => matchMethodPattern(pattern, one.service, one.method) !== undefined))
    .map((pattern) => {
      const names = methods.flatMap(({ service, method }) => [
        method,
        `${shortName(service)}/${method}`,
        `${service}/${method}`,
      ]);
      const meant = closest(pattern, names);
      const hint = meant === undefined ? '' : `; did you mean '${meant}'?`;
      return {
        path: pathOf(pathOf(path, 'methods'), pattern),
        message: `expected a pattern that matches a method, got one that matches none${hint}`,
      };
    });
}

/**
 * Returns the rank of `pattern` for a method (a higher rank is more specific); `undefined` if the pattern does not match. Patterns are
 * 'Get', 'Orders/Get', and 'orders.v1.Orders/Get'. In each form, a prefix ('Get*', 'Orders/Get*') or '*' can replace the method name. The
 * method takes precedence over the service: 'Get' wins over 'orders.v1.Orders/*'.
 */
export function matchMethodPattern(pattern: string, service: string, method: string): number | undefined {
  const slash = pattern.indexOf('/');
  const serviceRank = slash < 0 ? 0 : rankService(pattern.slice(0, slash), service);
  const methodRank = rankMethod(pattern.slice(slash + 1), method);
  if (serviceRank === undefined || methodRank === undefined) return undefined;
  return methodRank * SERVICE_RANK_COUNT + serviceRank;
}

const SERVICE_RANK_COUNT = 3;
/** Rank of an exact match, which is greater than the length of any method name. */
const EXACT_RANK = 1_000_000;

function rankService(pattern: string, service: string): number | undefined {
  if (pattern === service) return 2;
  return pattern === service.slice(service.lastIndexOf('.') + 1) ? 1 : undefined;
}

function rankMethod(pattern: string, method: string): number | undefined {
  if (pattern === method) return EXACT_RANK;
  if (!pattern.endsWith('*')) return undefined;
  const beginning = pattern.slice(0, -1);
  return method.startsWith(beginning) ? beginning.length : undefined;
}
