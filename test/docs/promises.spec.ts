import { describe, expect, it } from 'vitest';
import type { Bound } from '../scenarios/support/situation.js';
import { allSituations } from '../scenarios/support/situations.js';
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

describe('docs/promises.md', () => {
  it.each([...situations.values()])('has the promise and the bounds of $name, once', ({ name, promise, bounds }) => {
    const link = `(../test/scenarios/${name}.ts)`;
    const own = rows.filter(([first = '']) => first.endsWith(link)).map((row) => row.slice(0, 2));
    expect(own).toEqual([[`[${promise}]${link}`, inWords(bounds)]]);
  });

  it('promises nothing else, and says of each where it is explained', () => {
    expect(rows).toHaveLength(situations.size);
    const elsewhere = rows.filter((row) => !/^\[.+\]\([a-z-]+\.md(#[\w-]+)?\)/.test(row[2] ?? ''));
    expect(elsewhere).toEqual([]);
  });
});
