import { diag } from '@opentelemetry/api';

/** Values of `what` already logged. A broken SDK component usually throws on every call. */
const logged = new Set<string>();

/**
 * Returns the result of `work`, or `undefined` if it throws. Span processors, samplers, and views are application code that runs inside
 * the call being recorded; an error they throw must not fail the call or the process. Each `what` is logged once.
 */
export function catchSdkErrors<T>(what: string, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!logged.has(what)) {
      logged.add(what);
      diag.error(`OpenTelemetry's SDK threw at ${what}; calls go on without, and this is told once`, error);
    }
    return undefined;
  }
}
