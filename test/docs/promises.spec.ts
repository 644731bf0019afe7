import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Situation } from '../scenarios/support/situation.js';
import { allSituations } from '../scenarios/support/situations.js';
import type { Bound } from '../support/bound.js';
import { pageText } from './markdown.js';

const situations = await allSituations();

/** Cells of the rows of its tables. */
const rows = pageText('docs/promises.md')
  .split('\n')
  .filter((line) => line.startsWith('| ['))
  .map((line) => line.split('|').slice(1, -1))
  .map((cells) => cells.map((cell) => cell.trim()));

function inWords(bounds: Readonly<Record<string, Bound>>): string {
  return Object.entries(bounds)
    .map(([figure, { atLeast, atMost }]) => {
      if (atLeast === undefined) return `${figure} ${atMost === 0 ? '' : '≤ '}${atMost}`;
      if (atMost === undefined) return `${figure} ≥ ${atLeast}`;
      return `${figure} ${atLeast === atMost ? atMost : `${atLeast} to ${atMost}`}`;
    })
    .join('; ');
}

function allInWords({ bounds, fullBounds }: Pick<Situation, 'bounds' | 'fullBounds'>): string {
  return inWords(bounds) + (fullBounds === undefined ? '' : `; in full: ${inWords(fullBounds)}`);
}

describe('docs/promises.md', () => {
  it.each([...situations.values()])('has the promise and the bounds of $name, once', ({ name, promise, ...limits }) => {
    const link = `(../test/scenarios/${name}.ts)`;
    const own = rows.filter(([first = '']) => first.endsWith(link)).map((row) => row.slice(0, 2));
    expect(own).toEqual([[`[${promise}]${link}`, allInWords(limits)]]);
  });

  it.each([...situations])('and %s is played by a test', (name, situation) => {
    const spec = readFileSync(join(import.meta.dirname, `../scenarios/${name}.e2e-spec.ts`), 'utf8');
    const exported = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
    expect(situation.name).toBe(name);
    expect(spec).toContain(`import { ${exported} } from './${name}.js';`);
    expect(spec).toContain(`itHolds(${exported});`);
  });

  it('promises nothing else, and says of each where it is explained', () => {
    expect(rows).toHaveLength(situations.size);
    const elsewhere = rows.filter((row) => !/^\[.+\]\([a-z/-]+\.md(#[\w-]+)?\)/.test(row[2] ?? ''));
    expect(elsewhere).toEqual([]);
  });
});
