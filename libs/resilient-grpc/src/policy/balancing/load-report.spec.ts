import { describe, expect, it } from 'vitest';
import { decodeLoadReport } from './load-report.js';

const REPORT = {
  cpuUtilization: 0.25,
  memoryUtilization: 0.1,
  applicationUtilization: 0.5,
  callsPerSecond: 5,
  errorsPerSecond: 2,
};
const IDLE_REPORT = {
  cpuUtilization: 0,
  memoryUtilization: 0,
  applicationUtilization: 0,
  callsPerSecond: 0,
  errorsPerSecond: 0,
};
/** `REPORT` as Google's protobuf encodes it. */
const BYTES = '09000000000000d03f119a9999999999b93f31000000000000144039000000000000004049000000000000e03f';

describe('decodeLoadReport', () => {
  it('decodes a load report', () => {
    expect(decodeLoadReport(Buffer.from(BYTES, 'hex'))).toEqual(REPORT);
  });

  it('decodes absent fields of a load report to 0', () => {
    expect(decodeLoadReport(new Uint8Array())).toEqual(IDLE_REPORT);
  });

  it('skips unused fields of a load report: a varint, a map, and a 32-bit value', () => {
    const others = Buffer.from('18ac02' + '220c0a0161110000000000000840' + '7d01020304', 'hex');
    expect(decodeLoadReport(Buffer.concat([others, Buffer.from(BYTES, 'hex')]))).toEqual(REPORT);
  });

  it('reads a load report inside a larger buffer', () => {
    const bytes = Buffer.concat([Buffer.from([255, 255, 255]), Buffer.from(BYTES, 'hex')]).subarray(3);
    expect(decodeLoadReport(bytes)).toEqual(REPORT);
  });

  it.each(['09', '0900', '22', '22ff', '0b', '7d01', 'ffffffffffffffffffffff'])(
    'returns undefined for the invalid load report %s',
    (hex) => {
      expect(decodeLoadReport(Buffer.from(hex, 'hex'))).toBeUndefined();
    },
  );
});
