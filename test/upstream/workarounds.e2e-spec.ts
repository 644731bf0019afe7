import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../docs/markdown.js';
import { PAGE, PROGRAMS, WORKAROUNDS, declaredNames } from './workarounds.js';

const run = promisify(execFile);

describe(PAGE, () => {
  it('has a row for every program, and a program for every row', () => {
    expect(WORKAROUNDS.map(({ program }) => program).sort()).toEqual(PROGRAMS);
  });

  it.each(WORKAROUNDS)('says where the code is that can go: $program', ({ places }) => {
    expect(places).not.toEqual([]);
    for (const { symbol, file } of places) expect([...declaredNames(file)]).toContain(symbol);
  });
});

describe('an installed version', () => {
  it.concurrent.each(WORKAROUNDS)(
    'shows it still: $program',
    async ({ defect, program, canGo }) => {
      const { stdout } = await run(process.execPath, [join(ROOT, 'docs/upstream', program)]);
      const version = /\((.+)\)\s*$/.exec(stdout)?.[1];
      const outcome = stdout.startsWith('shown ')
        ? 'shown'
        : `${version} no longer shows: ${defect}. Where all of the peer range is mended, remove ${canGo}`;
      expect(outcome).toBe('shown');
    },
    180_000,
  );
});
