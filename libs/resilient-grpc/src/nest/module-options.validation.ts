import * as v from 'valibot';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { propagationSchema } from '../client/settings/propagation-settings.js';
import { defaultsProblems } from '../client/settings/resolve-settings.js';
import { object, timerMilliseconds } from '../policy/options/option-schemas.js';
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
});

export function moduleOptionsProblems(options: unknown): ConfigurationProblem[] {
  const problems = optionProblems(rootSchema, options, 'forRoot');
  if (typeof options !== 'object' || options === null) return problems;
  const defaults: unknown = Reflect.get(options, 'defaults');
  return defaults === undefined ? problems : [...problems, ...defaultsProblems(defaults, 'forRoot.defaults')];
}
