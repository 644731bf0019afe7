import { readFields } from '../../errors/protobuf-fields.js';

/** Key of the trailer that contains the load report of a server (gRFC A51). */
export const LOAD_REPORT_KEY = 'endpoint-load-metrics-bin';

/** Load of a server: the fields of `xds.data.orca.v3.OrcaLoadReport` that this library reads. */
export interface LoadReport {
  /** Share of the CPU time in use, 0 or more; above 1 if the process uses more than its soft limit. */
  readonly cpuUtilization: number;
  /** Share of the memory in use, 0 to 1. */
  readonly memoryUtilization: number;
  /** Share of the capacity in use as the application defines it, 0 or more. */
  readonly applicationUtilization: number;
  /** Calls per second. */
  readonly callsPerSecond: number;
  /** Failed calls per second. */
  readonly errorsPerSecond: number;
}

/** Field numbers of `OrcaLoadReport`. All of these fields are doubles. */
const FIELDS: readonly (readonly [keyof LoadReport, number])[] = [
  ['cpuUtilization', 1],
  ['memoryUtilization', 2],
  ['callsPerSecond', 6],
  ['errorsPerSecond', 7],
  ['applicationUtilization', 9],
];

/** Decodes a report; fields without a counterpart in `LoadReport` are skipped. Returns `undefined` if the message is invalid. */
export function decodeLoadReport(bytes: Uint8Array): LoadReport | undefined {
  const report: Record<keyof LoadReport, number> = {
    cpuUtilization: 0,
    memoryUtilization: 0,
    applicationUtilization: 0,
    callsPerSecond: 0,
    errorsPerSecond: 0,
  };
  try {
    for (const { number, value } of readFields(bytes)) {
      const field = FIELDS.find(([, id]) => id === number);
      if (field !== undefined && typeof value === 'number') report[field[0]] = value;
    }
    return report;
  } catch {
    return undefined;
  }
}
