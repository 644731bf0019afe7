/** Key of the trailer that contains the load report of a server (gRFC A51). */
export const LOAD_REPORT_KEY = 'endpoint-load-metrics-bin';

/** Load of a server: the fields of `xds.data.orca.v3.OrcaLoadReport` that balancing uses. */
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

/** Field numbers of `OrcaLoadReport`. All are doubles. */
const FIELDS: readonly (readonly [keyof LoadReport, number])[] = [
  ['cpuUtilization', 1],
  ['memoryUtilization', 2],
  ['callsPerSecond', 6],
  ['errorsPerSecond', 7],
  ['applicationUtilization', 9],
];

/** Wire types of Protocol Buffers. */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;
const FIELD_BYTES = 9;

/** Encodes a report as a Protocol Buffers message. Fields of 0 are omitted. */
export function encodeLoadReport(report: LoadReport): Uint8Array {
  const fields = FIELDS.filter(([key]) => report[key] !== 0);
  const bytes = new Uint8Array(fields.length * FIELD_BYTES);
  const view = new DataView(bytes.buffer);
  fields.forEach(([key, number], index) => {
    view.setUint8(index * FIELD_BYTES, (number << 3) | FIXED64);
    view.setFloat64(index * FIELD_BYTES + 1, report[key], true);
  });
  return bytes;
}

/** Decodes a report; fields that balancing does not use are skipped. Returns `undefined` if the message is invalid. */
export function decodeLoadReport(bytes: Uint8Array): LoadReport | undefined {
  const report: Record<keyof LoadReport, number> = {
    cpuUtilization: 0,
    memoryUtilization: 0,
    applicationUtilization: 0,
    callsPerSecond: 0,
    errorsPerSecond: 0,
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at < bytes.length) {
    const tag = readVarint(bytes, at);
    if (tag === undefined) return undefined;
    at = tag.next;
    const type = tag.value & 7;
    if (type === FIXED64) {
      if (at + 8 > bytes.length) return undefined;
      const field = FIELDS.find(([, number]) => number === tag.value >>> 3);
      if (field !== undefined) report[field[0]] = view.getFloat64(at, true);
      at += 8;
    } else if (type === LENGTH_DELIMITED || type === VARINT) {
      const value = readVarint(bytes, at);
      if (value === undefined) return undefined;
      at = value.next + (type === VARINT ? 0 : value.value);
    } else if (type === FIXED32) {
      at += 4;
    } else {
      return undefined;
    }
  }
  return at === bytes.length ? report : undefined;
}

/** Reads a varint at `at`. Values above 32 bits are truncated, because only skipped fields have them. */
function readVarint(bytes: Uint8Array, at: number): { readonly value: number; readonly next: number } | undefined {
  let value = 0;
  for (let index = 0; index < 10; index++) {
    const byte = bytes[at + index];
    if (byte === undefined) return undefined;
    if (index < 5) value = (value | ((byte & 127) << (7 * index))) >>> 0;
    if (byte < 128) return { value, next: at + index + 1 };
  }
  return undefined;
}
