// grpc-js reports the ejections of its outlier detection only in trace output, and reads GRPC_TRACE when it is loaded. Programs therefore
// import this module first.
const traced = process.env['GRPC_TRACE'];
process.env['GRPC_TRACE'] = traced ? `${traced},outlier_detection` : 'outlier_detection';
const { logVerbosity, setLogger, setLogVerbosity } = await import('@grpc/grpc-js');
// Restores the variable, because the upstream processes inherit the environment.
if (traced === undefined) delete process.env['GRPC_TRACE'];
else process.env['GRPC_TRACE'] = traced;

let count = 0;

setLogVerbosity(logVerbosity.DEBUG);
setLogger({
  debug: (message: unknown) => {
    if (String(message).includes('| outlier_detection | Ejecting candidate')) count += 1;
  },
  info: () => undefined,
  error: (...message: unknown[]) => console.error('E', ...message),
});

/** Returns the number of ejections that grpc-js has traced in this process, including further ejections of an ejected endpoint. */
export function tracedEjections(): number {
  return count;
}
