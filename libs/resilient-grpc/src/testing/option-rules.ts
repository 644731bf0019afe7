import { createSecureContext } from 'node:tls';
import { GrpcConfigurationError, type ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { describeSecret, pathOf, problemMessage } from '../policy/options/describe-value.js';
import { integerRule, numberProblem, unknownKeyMessage, type KeyRemedies } from '../policy/options/value-rules.js';

// The checks are for JavaScript callers, for casts, and for helpers without types: a misspelled option would have no effect.

/** Returns the message for an invalid value; `undefined` for a valid one. */
export type ValueRule = (value: unknown) => string | undefined;

/** A rule for each option of `T`. */
export type OptionRules<T> = { readonly [K in keyof Required<T>]: ValueRule };

/** Accepts `undefined`, and values that satisfy `rule`. */
export function optional(rule: ValueRule): ValueRule {
  return (value) => (value === undefined ? undefined : rule(value));
}

/** Accepts any value, for an option that is checked elsewhere. */
export const anyValue: ValueRule = () => undefined;

export const portRule = optional((value) => numberProblem(value, integerRule(0, 65_535)));

export const clockRule = optional((value) =>
  isObject(value) && 'now' in value ? undefined : problemMessage('a clock', value, 'write new VirtualClock()'),
);

export const objectRule = optional((value) => (isObject(value) ? undefined : problemMessage('an object', value)));

/** Key and certificate of a server. */
export const tlsRule = optional((value) =>
  isObject(value) && Reflect.get(value, 'key') !== undefined && Reflect.get(value, 'cert') !== undefined
    ? pemProblem(value)
    : problemMessage('an object with key and cert', value, 'write { key, cert } in PEM format', describeSecret),
);

/** Returns the message for a key, certificate, or authority that is invalid, so that the start fails instead of the first connection. */
function pemProblem(tls: object): string | undefined {
  try {
    createSecureContext(tls);
    return undefined;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return `expected key, cert, and ca in PEM format, got "${why}"; write the contents of the files, as readFileSync() returns them`;
  }
}

/** True for an object that is not an array. */
export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Returns the problems of the keys of `options`: unknown keys first, then invalid values. Keys that are undefined are ignored. */
export function keyProblems(
  options: object,
  rules: Readonly<Record<string, ValueRule>>,
  path: string,
  remedies: KeyRemedies = {},
): ConfigurationProblem[] {
  const known = Object.keys(rules);
  const problems: ConfigurationProblem[] = [];
  for (const [key, value] of Object.entries(options) as [string, unknown][]) {
    if (value === undefined || Object.hasOwn(rules, key)) continue;
    problems.push({ path: pathOf(path, key), message: unknownKeyMessage(key, known, remedies) });
  }
  for (const [key, rule] of Object.entries(rules)) {
    const message = rule(Reflect.get(options, key));
    if (message !== undefined) problems.push({ path: pathOf(path, key), message });
  }
  return problems;
}

/**
 * Checks options that satisfy `rules`.
 * @param example options to show if the value is not an object
 * @throws GrpcConfigurationError with the problems
 */
export function checkOptions<T>(
  options: T,
  rules: OptionRules<T>,
  path: string,
  example: string,
  remedies?: KeyRemedies,
): void {
  const problems = isObject(options)
    ? keyProblems(options, rules, path, remedies)
    : [{ path, message: problemMessage(`options such as ${example}`, options) }];
  if (problems.length > 0) throw new GrpcConfigurationError(problems);
}
