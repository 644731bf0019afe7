import * as v from 'valibot';
import { parseOptions } from '../options/option-problems.js';
import { duration, integer, jsonObject, openObject } from '../options/option-schemas.js';
import type { EjectionPolicy } from './ejection-policy.js';

/** Names of the policy in a `loadBalancingConfig`: the standard name, the name in grpc-js, and the name in some service configs. */
const OUTLIER_DETECTION_NAMES: ReadonlySet<string> = new Set([
  'outlier_detection_experimental',
  'outlier_detection',
  'outlierDetection',
]);

const percent = integer(0, 100);

const rate = (attempts: number) => ({
  enforcementPercentage: v.optional(percent, 100),
  minimumHosts: v.optional(integer(0), 5),
  requestVolume: v.optional(integer(0), attempts),
});

const successRate = json({ stdevFactor: v.optional(integer(0), 1_900), ...rate(100) });
const failurePercentage = json({ threshold: v.optional(percent, 85), ...rate(50) });

const entries = {
  interval: v.optional(duration(true), '10s'),
  baseEjectionTime: v.optional(duration(true), '30s'),
  maxEjectionTime: v.optional(duration(true), '300s'),
  maxEjectionPercent: v.optional(percent, 10),
  successRateEjection: v.exactOptional(successRate),
  failurePercentageEjection: v.exactOptional(failurePercentage),
};

const balancingSchema = v.pipe(
  json({
    ...entries,
    childPolicy: v.pipe(v.array(v.pipe(openObject({}), v.record(v.string(), v.unknown()))), v.minLength(1)),
  }),
  v.transform(({ childPolicy, ...config }) => ({ childPolicy, ejection: policyOf(config) })),
);

export type BalancingPolicies = readonly Readonly<Record<string, unknown>>[];

/** Outlier detection in a `loadBalancingConfig`: its rules and its child policies, or its first problem. */
export type OutlierDetectionEntry =
  | { readonly ok: true; readonly ejection: EjectionPolicy; readonly childPolicy: BalancingPolicies }
  | { readonly ok: false; readonly problem: string };

/** Parses `policy`, an entry of a `loadBalancingConfig`; returns `undefined` if the entry is for another policy. */
export function readOutlierDetection(policy: Readonly<Record<string, unknown>>): OutlierDetectionEntry | undefined {
  const name = Object.keys(policy).find((key) => OUTLIER_DETECTION_NAMES.has(key));
  if (name === undefined) return undefined;
  const parsed = parseOptions(balancingSchema, policy[name], name);
  if (parsed.ok) return { ok: true, ...parsed.options };
  const [problem] = parsed.problems;
  return { ok: false, problem: problem === undefined ? name : `${problem.path}: ${problem.message}` };
}

/** Accepts the names of proto3 JSON and the original names of the fields, as proto3 JSON parsers do. */
function json<const E extends v.ObjectEntries>(fields: E) {
  return v.pipe(v.unknown(), v.transform(camelCaseKeys), jsonObject(fields));
}

function camelCaseKeys(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => [
      key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      entry,
    ]),
  );
}

type Parsed = v.InferOutput<ReturnType<typeof json<typeof entries>>>;

function policyOf({
  successRateEjection: success,
  failurePercentageEjection: failure,
  ...times
}: Parsed): EjectionPolicy {
  return Object.freeze({
    intervalMs: times.interval,
    carriedIntervals: 0,
    baseEjectionMs: times.baseEjectionTime,
    maxEjectionMs: times.maxEjectionTime,
    maxEjectionPercent: times.maxEjectionPercent,
    panicThresholdPercent: 50,
    ejectionDecayMs: Math.max(1, times.interval),
    slowStartMs: 0,
    consecutiveFailures: undefined,
    successRate: success && {
      stdevFactor: success.stdevFactor,
      enforcementPercent: success.enforcementPercentage,
      minimumEndpoints: success.minimumHosts,
      minimumAttempts: success.requestVolume,
    },
    failurePercentage: failure && {
      threshold: failure.threshold,
      timesOthers: 0,
      enforcementPercent: failure.enforcementPercentage,
      minimumEndpoints: failure.minimumHosts,
      minimumAttempts: failure.requestVolume,
    },
    latencyFactor: undefined,
  });
}
