import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { OPEN_DEFECTS, PAGE, PROGRAMS, PROGRAMS_FOLDER, WORKAROUNDS, declaredNames } from './workarounds.js';

const run = promisify(execFile);

describe(PAGE, () => {
  it('lists exactly one row per program', () => {
    expect([...WORKAROUNDS, ...OPEN_DEFECTS].map(({ program }) => program).sort()).toEqual(PROGRAMS);
  });

  it.each(WORKAROUNDS)('names existing code that works around the upstream defect: $program', ({ places }) => {
    expect(places).not.toEqual([]);
    for (const { symbol, file } of places) expect([...declaredNames(file)]).toContain(symbol);
  });
});

describe('installed version of the dependency', () => {
  it.concurrent.each([...WORKAROUNDS, ...OPEN_DEFECTS])(
    'reproduces the upstream defect with the installed version of the dependency: $program',
    async ({ defect, program, removableCode }) => {
      const { stdout } = await run(process.execPath, [join(PROGRAMS_FOLDER, program)]);
      const version = /\((.+)\)\s*$/.exec(stdout)?.[1];
      const outcome = stdout.startsWith('defect reproduced ')
        ? 'defect reproduced'
        : `${version} no longer has this defect: ${defect}. If every version in the peer range has the fix, remove the row of the defect from ${PAGE}, and the code, if any, that its third column lists: ${removableCode}`;
      expect(outcome).toBe('defect reproduced');
    },
    180_000,
  );
});
