import * as v from 'valibot';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { describeValue, pathOf, problemMessage } from '../policy/options/describe-value.js';
import { propagationSchema } from '../client/settings/propagation-settings.js';
import { defaultsProblems } from '../client/settings/resolve-settings.js';
import { isObject, misplaced, object, timerMilliseconds } from '../policy/options/option-schemas.js';
import { optionProblems } from '../policy/options/option-problems.js';

export const drainSchema = object({
  timeoutMs: v.optional(timerMilliseconds(0)),
  readinessDelayMs: v.optional(timerMilliseconds(0)),
});

const rootSchema = object({
  // Checked separately.
  defaults: v.optional(v.unknown()),
  propagate: v.optional(propagationSchema),
  drain: v.optional(drainSchema),
  clients: misplaced('in forFeature()'),
  url: misplaced('in forFeature()'),
});

export function moduleOptionsProblems(options: unknown): ConfigurationProblem[] {
  const problems = optionProblems(rootSchema, options, 'forRoot');
  if (typeof options !== 'object' || options === null) return problems;
  const defaults: unknown = Reflect.get(options, 'defaults');
  return defaults === undefined ? problems : [...problems, ...defaultsProblems(defaults, 'forRoot.defaults')];
}

/** Returns the problems of an async source, which must have exactly one of `useFactory`, `useClass`, and `useExisting`. */
export function asyncSourceProblems(source: unknown, path: string): ConfigurationProblem[] {
  const given = isObject(source) ? SOURCES.filter((key) => Reflect.get(source, key) !== undefined) : [];
  const [only] = given;
  if (only === undefined || given.length > 1) {
    const found = given.length > 1 ? given.join(' and ') : describeValue(source);
    return [{ path, message: `expected exactly one of useFactory, useClass, and useExisting, got ${found}` }];
  }
  const value: unknown = Reflect.get(source as object, only);
  if (typeof value === 'function') return [];
  const expected = only === 'useFactory' ? 'a function' : 'a class';
  return [{ path: pathOf(path, only), message: problemMessage(expected, value) }];
}

export const SOURCE_KEYS = ['imports', 'inject', 'useFactory', 'useClass', 'useExisting'] as const;
const SOURCES = ['useFactory', 'useClass', 'useExisting'] as const;
