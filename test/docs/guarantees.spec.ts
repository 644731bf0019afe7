import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Situation } from '../scenarios/support/situation.js';
import { allSituations } from '../scenarios/support/situations.js';
import type { Bound } from '../support/bound.js';
import { pageText } from './markdown.js';

const situations = await allSituations();

/** Cells of all table rows of the page, without headings. */
const rows = pageText('docs/guarantees.md')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (Guarantee|-+) /.test(line))
  .map((line) => line.split('|').slice(1, -1))
  .map((cells) => cells.map((cell) => cell.trim()));

/** One entry per figure: 'reads failed: 0', 'first answer: ≤ 1000 ms'. */
function boundLines(bounds: Readonly<Record<string, Bound>>): readonly string[] {
  return Object.entries(bounds).map(([figure, { atLeast, atMost }]) => {
    const [, name, unit] = /^(.+?)(?:,? (ms|%|times))?$/.exec(figure)!;
    const range = () => {
      if (atLeast === undefined) return `${atMost === 0 ? '' : '≤ '}${atMost}`;
      if (atMost === undefined) return `≥ ${atLeast}`;
      return atLeast === atMost ? String(atMost) : `${atLeast} to ${atMost}`;
    };
    return `${name}: ${range()}${unit === undefined ? '' : ` ${unit}`}`;
  });
}

/** The cell with all bounds. The bounds of full plays are marked. */
function boundsCell({ bounds, fullBounds = {} }: Pick<Situation, 'bounds' | 'fullBounds'>): string {
  return [...boundLines(bounds), ...boundLines(fullBounds).map((line) => `in full: ${line}`)].join('<br>');
}

describe('docs/guarantees.md', () => {
  it.each([...situations.values()])(
    'shows the promise and the bounds of $name once',
    ({ name, promise, ...limits }) => {
      const link = `[test](../test/scenarios/${name}.ts)`;
      const own = rows.filter(([, , links = '']) => links.endsWith(link)).map((row) => row.slice(0, 2));
      expect(own).toEqual([[promise, boundsCell(limits)]]);
    },
  );

  it.each([...situations])('links a test that plays %s', (name, situation) => {
    const spec = readFileSync(join(import.meta.dirname, `../scenarios/${name}.e2e-spec.ts`), 'utf8');
    const exported = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
    expect(situation.name).toBe(name);
    expect(spec).toContain(`import { ${exported} } from './${name}.js';`);
    expect(spec).toContain(`itHolds(${exported});`);
  });

  it('shows no other promise and links the explanation of each promise', () => {
    expect(rows).toHaveLength(situations.size);
    const links = /^\[[^\]]+\]\([a-z/-]+\.md(#[\w-]+)?\), \[test\]\(\.\.\/test\/scenarios\/[a-z-]+\.ts\)$/;
    expect(rows.filter((row) => !links.test(row[2] ?? ''))).toEqual([]);
  });
});
