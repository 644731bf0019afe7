import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { describe, expect, it } from 'vitest';
import type { Scenario } from '../scenarios/support/scenario.js';
import { allScenarios } from '../scenarios/support/scenarios.js';
import type { Bound } from '../support/bound.js';
import { ROOT } from './markdown.js';

const PAGE = join(ROOT, 'docs/internals/guarantees.md');

const scenarios = await allScenarios();

const OPENING = `# Guarantees and their bounds

Each section is a scenario of [test/scenarios](../../test/README.md#scenarios): what the library promises, and the bounds that every run must meet. Reads are calls of methods that are safe to repeat; writes are all other calls. A write is on the wire if it was sent and has no response yet. A bound with "≥" usually shows that the fault had an effect. A bound "in a full run" applies only with \`--full\` and in the soak test.

\`npx vitest run --project nest-12 -u test/docs/guarantees.spec.ts\` writes this page from the scenarios.`;

const shownNumber = (value: number) => value.toLocaleString('en-US');

/** One row per figure, such as '| time until the feed resumes | ≤ 5,000 ms |'. */
function boundRows(bounds: Readonly<Record<string, Bound>>, prefix: string): readonly string[] {
  return Object.entries(bounds).map(([figure, { atLeast, atMost }]) => {
    const [, name, unit] = /^(.+?)(?:,? (ms|%|times))?$/.exec(figure)!;
    const range = () => {
      if (atLeast === undefined) return `${atMost === 0 ? '' : '≤ '}${shownNumber(atMost!)}`;
      if (atMost === undefined) return `≥ ${shownNumber(atLeast)}`;
      return atLeast === atMost ? shownNumber(atMost) : `${shownNumber(atLeast)} to ${shownNumber(atMost)}`;
    };
    const suffix = unit === undefined || unit === '%' ? (unit ?? '') : ` ${unit}`;
    return `| ${prefix}${name} | ${range()}${suffix} |`;
  });
}

function section({ name, promise, bounds, fullBounds = {} }: Scenario): string {
  const rows = [...boundRows(bounds, ''), ...boundRows(fullBounds, 'in a full run: ')];
  const table = ['| Figure | Bound |', '| --- | --- |', ...rows].join('\n');
  return `## ${name}\n\n${promise} ([the test](../../test/scenarios/${name}.ts))\n\n${table}`;
}

describe('guarantees', () => {
  it('shows the promise and the bounds of each scenario in docs/internals/guarantees.md (the option -u updates the page)', async () => {
    const text = [OPENING, ...[...scenarios.values()].map(section)].join('\n\n');
    const page = await format(text, { ...(await resolveConfig(PAGE)), filepath: PAGE });
    await expect(page).toMatchFileSnapshot(PAGE);
  });

  it.each([...scenarios])('runs the scenario %s in a spec with the same name', (name, scenario) => {
    const spec = readFileSync(join(import.meta.dirname, `../scenarios/${name}.e2e-spec.ts`), 'utf8');
    const exported = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
    expect(scenario.name).toBe(name);
    expect(spec).toContain(`import { ${exported} } from './${name}.js';`);
    expect(spec).toContain(`itHolds(${exported});`);
  });
});
