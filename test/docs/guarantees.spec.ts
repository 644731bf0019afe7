import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Scenario } from '../scenarios/support/scenario.js';
import { allScenarios } from '../scenarios/support/scenarios.js';
import type { Bound } from '../support/bound.js';
import { PAGES, pageText } from './markdown.js';

const scenarios = await allScenarios();

/** One guarantee as its page shows it. */
interface ShownGuarantee {
  readonly promise: string;
  /** Targets of the links to the explanation and to the test. */
  readonly links: readonly string[];
  /** Lines such as 'reads failed: 0'. */
  readonly bounds: readonly string[];
}

const shown: readonly ShownGuarantee[] = PAGES.filter((page) => page.startsWith('docs/guarantees/')).flatMap((page) =>
  pageText(page)
    .split(/^## .+\n/m)
    .slice(1)
    .map((section) => {
      const [, promise = '', explanation = '', test = ''] =
        /^(.+?) See \[[^\]]+\]\(([^)]+)\) and \[the test\]\(([^)]+)\)\.$/m.exec(section) ?? [];
      const rows = section.split('\n').filter((line) => /^\| (?!Figure|-)/.test(line));
      const bounds = rows.map((row) =>
        row
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim())
          .join(': '),
      );
      return { promise, links: [explanation, test], bounds };
    }),
);

const shownNumber = (value: number) => value.toLocaleString('en-US');

/** One line per figure, such as 'reads failed: 0' or 'time until the feed resumes: ≤ 5,000 ms'. */
function boundLines(bounds: Readonly<Record<string, Bound>>): readonly string[] {
  return Object.entries(bounds).map(([figure, { atLeast, atMost }]) => {
    const [, name, unit] = /^(.+?)(?:,? (ms|%|times))?$/.exec(figure)!;
    const range = () => {
      if (atLeast === undefined) return `${atMost === 0 ? '' : '≤ '}${shownNumber(atMost!)}`;
      if (atMost === undefined) return `≥ ${shownNumber(atLeast)}`;
      return atLeast === atMost ? shownNumber(atMost) : `${shownNumber(atLeast)} to ${shownNumber(atMost)}`;
    };
    const suffix = unit === undefined || unit === '%' ? (unit ?? '') : ` ${unit}`;
    return `${name}: ${range()}${suffix}`;
  });
}

/** All bounds. The bounds of full runs are marked. */
function allBounds({ bounds, fullBounds = {} }: Pick<Scenario, 'bounds' | 'fullBounds'>): readonly string[] {
  return [...boundLines(bounds), ...boundLines(fullBounds).map((line) => `in a full run: ${line}`)];
}

describe('docs/guarantees', () => {
  it.each([...scenarios.values()])(
    'shows the promise and the bounds of $name once in docs/guarantees',
    ({ name, promise, ...limits }) => {
      const own = shown.filter(({ links }) => links[1] === `../../test/scenarios/${name}.ts`);
      expect(own.map((one) => [one.promise, one.bounds])).toEqual([[promise, allBounds(limits)]]);
    },
  );

  it.each([...scenarios])('runs the scenario %s in a spec with the same name', (name, scenario) => {
    const spec = readFileSync(join(import.meta.dirname, `../scenarios/${name}.e2e-spec.ts`), 'utf8');
    const exported = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
    expect(scenario.name).toBe(name);
    expect(spec).toContain(`import { ${exported} } from './${name}.js';`);
    expect(spec).toContain(`itHolds(${exported});`);
  });

  it('shows exactly one promise per scenario in docs/guarantees, with a link to its explanation', () => {
    expect(shown).toHaveLength(scenarios.size);
    expect(shown.filter(({ links }) => !/^\.\.\/[a-z/-]+\.md(#[\w-]+)?$/.test(links[0] ?? ''))).toEqual([]);
  });
});
