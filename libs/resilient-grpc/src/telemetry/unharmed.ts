import { diag } from '@opentelemetry/api';

/** What has been told: something that throws does so at every call. */
const told = new Set<string>();

/**
 * What `work` gives; undefined where it throws. Span processors, samplers and views are somebody's own, run within the call that is told
 * of, and what they throw must end neither the call nor the process. Told once for each `what`.
 */
export function unharmed<T>(what: string, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!told.has(what)) {
      told.add(what);
      diag.error(`OpenTelemetry's SDK threw at ${what}; calls go on without, and this is told once`, error);
    }
    return undefined;
  }
}
