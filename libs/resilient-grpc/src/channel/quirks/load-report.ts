import type { Metadata, experimental } from '@grpc/grpc-js';
import { decodeLoadReport, LOAD_REPORT_KEY } from '../../policy/balancing/least-request.js';

type Picker = experimental.Picker;

/** Key under which grpc-js keeps a report that it has decoded. */
const DECODED_KEY = 'grpc_orca_load_report';

/**
 * Decodes the load reports from servers for the picker of grpc-js's `weighted_round_robin`. The picker itself would load and parse the
 * `.proto` files for each report (10 ms of CPU time), and throw for an invalid report.
 */
export function withDecodedReports(picker: Picker): Picker {
  return {
    pick: (args): experimental.PickResult => {
      const pick = picker.pick(args);
      const { onCallEnded } = pick;
      if (onCallEnded === null) return pick;
      return {
        ...pick,
        onCallEnded: (code: number, details: string, metadata: Metadata) => {
          decodeReportOf(metadata);
          onCallEnded(code, details, metadata);
        },
      };
    },
  };
}

function decodeReportOf(metadata: Metadata): void {
  const [report] = metadata.get(LOAD_REPORT_KEY);
  // Releases of grpc-js without this method decode the report themselves.
  if (!Buffer.isBuffer(report) || (metadata as Partial<Metadata>).setOpaque === undefined) return;
  // Zeros replace an invalid report, so that the weight of the endpoint stays unchanged.
  const decoded = decodeLoadReport(report);
  const { callsPerSecond = 0, errorsPerSecond = 0, applicationUtilization = 0, cpuUtilization = 0 } = decoded ?? {};
  // The fields that `weighted_round_robin` reads.
  metadata.setOpaque(DECODED_KEY, {
    rps_fractional: callsPerSecond,
    eps: errorsPerSecond,
    // gRFC A58: servers that report no application utilization are weighted by their CPU utilization.
    application_utilization: applicationUtilization > 0 ? applicationUtilization : cpuUtilization,
  });
}
