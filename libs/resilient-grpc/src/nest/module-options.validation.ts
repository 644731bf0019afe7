import * as v from 'valibot';
import { GRPC_JS_LOG_LEVELS } from '../channel/grpc-js-log.js';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { describeValue } from '../policy/options/describe-value.js';
import { propagationProblems } from '../client/settings/propagation-settings.js';
import { defaultsProblems } from '../client/settings/resolve-settings.js';
import { milliseconds, misplaced, object, oneOf } from '../policy/options/option-schemas.js';
import { optionProblems } from '../policy/options/option-problems.js';

/** Schema of `drain`, for clients and servers. */
export const drainSchema = object(
  { timeoutMs: v.optional(milliseconds(0)), readinessDelayMs: v.optional(milliseconds(0)) },
  'an object such as { timeoutMs: 8000 }',
);

const rootSchema = object(
  {
    // `defaults` and `propagate` are checked separately.
    defaults: v.optional(v.unknown()),
    propagate: v.optional(v.unknown()),
    drain: v.optional(drainSchema),
    clients: misplaced('in forFeature()'),
    url: misplaced('in forFeature()'),
    grpcJsLog: v.optional(oneOf(GRPC_JS_LOG_LEVELS)),
  },
  'an object such as { defaults: { timeoutMs: 2000 } }',
);

/** Returns the problems of the options of `forRoot`. */
export function moduleOptionsProblems(options: unknown): ConfigurationProblem[] {
  const problems = optionProblems(rootSchema, options, 'forRoot');
  if (typeof options !== 'object' || options === null) return problems;
  const defaults: unknown = Reflect.get(options, 'defaults');
  if (defaults !== undefined) problems.push(...defaultsProblems(defaults, 'forRoot.defaults'));
  const propagate: unknown = Reflect.get(options, 'propagate');
  if (propagate === false) {
    problems.push({
      path: 'forRoot.propagate',
      message: 'expected an object, got false',
    });
  }
  return [...problems, ...propagationProblems(propagate, 'forRoot.propagate')];
}

/** Returns the problems of an async source, which must have exactly one of `useFactory`, `useClass`, and `useExisting`. */
export function asyncSourceProblems(source: unknown, path: string): ConfigurationProblem[] {
  if (typeof source !== 'object' || source === null) {
    const message = `expected an object, got ${describeValue(source)}; write { useFactory: () => ({ ... }) }`;
    return [{ path, message }];
  }
  const given = SOURCES.filter((key) => Reflect.get(source, key) !== undefined);
  const [only] = given;
  if (only === undefined || given.length > 1) {
    const found = only === undefined ? 'none' : given.join(' and ');
    return [
      {
        path,
        message: `expected exactly one of useFactory, useClass, and useExisting, got ${found}; write useFactory: () => ({ ... })`,
      },
    ];
  }
  const value: unknown = Reflect.get(source, only);
  if (typeof value === 'function') return [];
  return [
    {
      path: `${path}.${only}`,
      message: `expected a ${only === 'useFactory' ? 'function' : 'class'}, got ${describeValue(value)}`,
    },
  ];
}

/** Keys of an async source. */
export const SOURCE_KEYS = ['imports', 'inject', 'useFactory', 'useClass', 'useExisting'] as const;
const SOURCES = ['useFactory', 'useClass', 'useExisting'] as const;
