import {
  Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import { encodeLoadReport, LOAD_REPORT_KEY } from '../policy/balancing/load-report.js';
import { StatusCode } from '../status/status-code.js';
import type { Clock } from '../time/clock.js';
import type { ProcessLoadSource } from '../time/process-load.js';

/** Status of a call as grpc-js sends it. */
export type SentStatus = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

/** Minimum period in milliseconds over which rates are measured. Clients update their weights once a second by default (gRFC A58). */
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
 * Reports the load of this process in the trailers of each call (ORCA, gRFC A51), for clients that use `weighted_round_robin`. A report is
 * measured and encoded at most once per second, when a call ends. Calls that end in the first second after startup carry no report. The
 * recorder of grpc-js (`grpc.server_call_metric_recording`) is not used, because it would parse its `.proto` files for each call.
 */
export class LoadReports {
  private startedAt: number;
  private calls = 0;
  private errors = 0;
  private report: Buffer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly process: ProcessLoadSource,
  ) {
    this.startedAt = clock.now();
  }

  /** Adds the latest report to the trailers of each call. */
  readonly interceptor: ServerInterceptor = (_, call) =>
    new ServerInterceptingCall(call, {
      sendStatus: (status, next) => {
        next(this.withReport(status));
      },
    });

  /** Counts a call that ends with `status`. Returns the status with the latest report, if any, in its metadata. */
  withReport(status: SentStatus): SentStatus {
    this.count(status.code);
    if (this.report === undefined) return status;
    const metadata = status.metadata?.clone() ?? new Metadata();
    metadata.set(LOAD_REPORT_KEY, this.report);
    return { ...status, metadata };
  }

  private count(code: number): void {
    this.calls += 1;
    if (SERVER_FAULTS.has(code)) this.errors += 1;
    const elapsedMs = this.clock.now() - this.startedAt;
    if (elapsedMs < PERIOD_MS) return;
    const { eventLoopUtilization, cpuUtilization, memoryUtilization } = this.process.next();
    this.report = Buffer.from(
      encodeLoadReport({
        cpuUtilization,
        memoryUtilization,
        applicationUtilization: eventLoopUtilization,
        callsPerSecond: (this.calls / elapsedMs) * 1_000,
        errorsPerSecond: (this.errors / elapsedMs) * 1_000,
      }),
    );
    this.startedAt += elapsedMs;
    this.calls = this.errors = 0;
  }
}
