import { diag } from '@opentelemetry/api';

/** Values of `what` already logged. A broken SDK component usually throws on every call. */
const logged = new Set<string>();

/**
 * Returns the result of `work`, or `undefined` if it throws. Span processors, samplers, and views are application code that runs inside the
 * call being recorded; an error that they throw must not fail the call or crash the process. Each `what` (such as 'starting a span') is
 * logged once.
 */
export function catchSdkErrors<T>(what: string, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!logged.has(what)) {
      logged.add(what);
      diag.error(
        `OpenTelemetry SDK threw while ${what}; calls continue; further errors of this kind are not logged`,
        error,
      );
    }
    return undefined;
  }
}
