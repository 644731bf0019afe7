import { Metadata, ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import { encodeLoadReport, LOAD_REPORT_KEY } from '../policy/balancing/load-report.js';
import { StatusCode } from '../status/status-code.js';
import type { Clock } from '../time/clock.js';
import type { ProcessLoadSource } from '../time/process-load.js';

/** Period of the measured rates in milliseconds. Clients update their weights once a second by default (gRFC A58). */
const PERIOD_MS = 1_000;

/** Statuses that count as errors: the server failed, or was overloaded. */
const SERVER_FAULTS: ReadonlySet<number> = new Set([
  StatusCode.UNKNOWN,
  StatusCode.DEADLINE_EXCEEDED,
  StatusCode.RESOURCE_EXHAUSTED,
  StatusCode.INTERNAL,
  StatusCode.UNAVAILABLE,
  StatusCode.DATA_LOSS,
]);

/**
 * Returns an interceptor that adds the load of this process to the trailers of each call (ORCA, gRFC A51), for clients with
 * `weighted_round_robin`. A report is measured and encoded once per second. grpc-js's own recorder would parse its `.proto` files for each
 * call (`grpc.server_call_metric_recording`).
 */
export function loadReports(clock: Clock, process: ProcessLoadSource): ServerInterceptor {
  let startedAt = clock.now();
  let calls = 0;
  let errors = 0;
  let report: Buffer | undefined;

  function count(code: number): void {
    calls += 1;
    if (SERVER_FAULTS.has(code)) errors += 1;
    const elapsedMs = clock.now() - startedAt;
    if (elapsedMs < PERIOD_MS) return;
    const { eventLoopUtilization, cpuUtilization, memoryUtilization } = process.next();
    report = Buffer.from(
      encodeLoadReport({
        cpuUtilization,
        memoryUtilization,
        applicationUtilization: eventLoopUtilization,
        callsPerSecond: (calls / elapsedMs) * 1_000,
        errorsPerSecond: (errors / elapsedMs) * 1_000,
      }),
    );
    startedAt += elapsedMs;
    calls = errors = 0;
  }

  return (_, call) =>
    new ServerInterceptingCall(call, {
      sendStatus: (status, next) => {
        count(status.code);
        if (report === undefined) {
          next(status);
          return;
        }
        const metadata = status.metadata?.clone() ?? new Metadata();
        metadata.set(LOAD_REPORT_KEY, report);
        next({ ...status, metadata });
      },
    });
}
