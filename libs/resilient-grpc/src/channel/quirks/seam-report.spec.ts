import { describe, expect, it } from 'vitest';
import type { UntestedVersion } from '../../call/untested-version.js';
import { SeamReport } from './seam-report.js';
import type { Seam } from './seam.js';

const SEAMS: readonly Seam[] = [
  { on: 'spec channel', needs: ['inner.pool.empty()'], lostWithout: 'the emptying' },
  { on: 'spec channel', needs: ['inner.name', '[state].streams', 'gone.socket.read()'], lostWithout: 'the names' },
];
const STATE = Symbol('state');

function reported(): { readonly report: SeamReport; readonly told: UntestedVersion[] } {
  const told: UntestedVersion[] = [];
  return { report: new SeamReport(SEAMS, (untested) => void told.push(untested)), told };
}

describe('SeamReport', () => {
  it('reports what the first object of a kind lacks, and nothing for the next ones in this process', () => {
    const { report, told } = reported();
    report.check('spec channel', { inner: { pool: { empty: 1 }, name: null }, gone: { socket: null }, [STATE]: {} });
    report.check('spec channel', {});
    reported().report.check('spec channel', {});
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({
      missing: ['inner.pool.empty()', '[state].streams'],
      lost: ['the emptying', 'the names'],
    });
    expect(told[0]?.installed).toMatch(/^@grpc\/grpc-js \d+\.\d+\.\d+ on Node \d+/);
  });

  it('reports nothing if everything is there, also a field that is not set yet', () => {
    const { report, told } = reported();
    report.checkStart({ 'spec start': {}, other: undefined });
    expect(told).toEqual([]);
  });
});
