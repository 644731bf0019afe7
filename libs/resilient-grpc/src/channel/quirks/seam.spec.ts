import { describe, expect, it } from 'vitest';
import type { UntestedVersion } from '../../call/untested-version.js';
import { SeamReport, type Seam } from './seam.js';

const SEAMS: readonly Seam[] = [
  { on: 'spec channel', needs: ['inner.pool.empty()'], lostWithout: 'the emptying' },
  { on: 'spec channel', needs: ['inner.name', '[state].streams', 'gone.socket.read()'], lostWithout: 'the names' },
];
const STATE = Symbol('state');

function reported(): { readonly report: SeamReport; readonly reports: UntestedVersion[] } {
  const reports: UntestedVersion[] = [];
  return { report: new SeamReport(SEAMS, (untested) => void reports.push(untested)), reports };
}

describe('SeamReport', () => {
  it('reports the names that the first object of a kind lacks, once per process', () => {
    const { report, reports } = reported();
    report.check('spec channel', { inner: { pool: { empty: 1 }, name: null }, gone: { socket: null }, [STATE]: {} });
    report.check('spec channel', {});
    reported().report.check('spec channel', {});
    expect(reports).toHaveLength(1);
    expect(reports[0]).toMatchObject({
      missing: ['inner.pool.empty()', '[state].streams'],
      lost: ['the emptying', 'the names'],
    });
    expect(reports[0]?.installed).toMatch(/^@grpc\/grpc-js \d+\.\d+\.\d+ on Node \d+/);
  });

  it('reports nothing if all names are present, including a field that is not set yet', () => {
    const { report, reports } = reported();
    report.checkStart({ 'spec start': {}, other: undefined });
    expect(reports).toEqual([]);
  });
});
