import { diag } from '@opentelemetry/api';

/** Activities whose errors were logged. A broken SDK component usually throws on every call. */
const logged = new Set<string>();

/**
 * Returns the result of `work`, or `undefined` if it throws. Span processors, samplers, and views are application code that runs inside the
 * call being recorded; an error that they throw must not fail the call or crash the process. Only the first error of each `activity`, such
 * as 'starting a span', is logged.
 */
export function catchSdkErrors<T>(activity: string, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!logged.has(activity)) {
      logged.add(activity);
      diag.error(
        `OpenTelemetry SDK threw while ${activity}; calls continue; further errors of this kind are not logged`,
        error,
      );
    }
    return undefined;
  }
}
