// grpc-js reports the ejections of its outlier detection only in its trace, which it configures when it is loaded. Programs therefore import
// this module first.
const TRACE_KEY = 'GRPC_TRACE';
const traced = process.env[TRACE_KEY];
process.env[TRACE_KEY] = traced ? `${traced},outlier_detection` : 'outlier_detection';
const { logVerbosity, setLogger, setLogVerbosity } = await import('@grpc/grpc-js');
// Upstreams inherit the environment.
if (traced === undefined) delete process.env[TRACE_KEY];
else process.env[TRACE_KEY] = traced;

let count = 0;

setLogVerbosity(logVerbosity.DEBUG);
setLogger({
  debug: (message: unknown) => {
    if (String(message).includes('| outlier_detection | Ejecting candidate')) count += 1;
  },
  info: () => undefined,
  error: (...message: unknown[]) => console.error('E', ...message),
});

/** Returns the number of ejections by grpc-js's outlier detection in this process. */
export function tracedEjections(): number {
  return count;
}
