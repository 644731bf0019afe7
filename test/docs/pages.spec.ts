import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as operators from 'nestjs-resilient-grpc/operators';
import { RENDERED_PAGES, renderedPage } from '../../docs/tools/rendered-pages.mjs';
import { PAGES, ROOT, brokenLinks, linksOf, pageText, programsBySection } from './markdown.js';

/** Heading of the last section on pages whose programs share code. */
const SHARED = 'Shared setup';

describe.each(PAGES)('%s', (page) => {
  it(`finds no broken relative links in ${page}`, () => {
    expect(brokenLinks(page)).toEqual([]);
  });
});

describe.each(RENDERED_PAGES)('%s', (page) => {
  it(`keeps the rendered parts of ${page} in sync with the source (\`node docs/render.mjs\` updates them)`, async () => {
    const { text, rendered } = await renderedPage(page);
    expect(text).toBe(rendered);
  });
});

const LONG_PAGES = [
  // Not split, because its diagrams and its table of changes refer to each other.
  'docs/architecture.md',
  // Not split, because maintainers search this list, which has a row for each defect.
  'docs/upstream/README.md',
];

describe.each(PAGES.filter((page) => page.startsWith('docs/') && !LONG_PAGES.includes(page)))('%s', (page) => {
  it(`limits ${page} to 13,500 characters, excluding rendered tables, so that readers finish it`, () => {
    const text = pageText(page)
      .replace(/<!-- rendered: [^]*?<!-- end of rendered -->/g, '')
      .replace(/ {2,}\|/g, ' |')
      .replace(/-{4,}/g, '-');
    expect(text.length).toBeLessThanOrEqual(13_500);
  });
});

describe('docs', () => {
  it('makes every page reachable from the README through links', () => {
    const seen = new Set<string>();
    const visit = (page: string): void => {
      if (seen.has(page)) return;
      seen.add(page);
      for (const { target } of linksOf(page)) {
        const path = target.split('#')[0]!;
        if (path.endsWith('.md') && !path.startsWith('https://')) visit(join(dirname(page), path));
      }
    };
    visit('README.md');
    expect([...seen].sort()).toEqual([...PAGES].sort());
  });
});

describe('docs/policies.md', () => {
  it('lists each FailureReason exactly once in docs/policies.md', () => {
    const source = readFileSync(join(ROOT, 'libs/resilient-grpc/src/errors/grpc-call-error.ts'), 'utf8');
    const union = source.slice(source.indexOf('type FailureReason ='), source.indexOf('type NotRetriedReason ='));
    const reasons = [...union.matchAll(/^ {2}\| '([\w-]+)'/gm)].map(([, reason]) => reason);
    const [, table] = pageText('docs/policies.md').split(/^(?=\| `reason` )/m);
    const rows = table!.split('\n\n')[0]!.split('\n').slice(2);
    const listed = rows.flatMap((row) => [...row.split('|')[1]!.matchAll(/`([\w-]+)`/g)].map(([, reason]) => reason));
    expect(reasons.length).toBeGreaterThan(10);
    expect(listed.sort()).toEqual(reasons.sort());
  });
});

describe.each([
  ['docs/policies.md', 10],
  ['docs/streams.md', 6],
])('%s', (page, atLeast) => {
  it(`shows a program in every section of ${page} and the pages of its folder, except for the shared setup`, () => {
    const pages = PAGES.filter((one) => one === page || one.startsWith(page.replace(/\.md$/, '/')));
    const sections = pages.flatMap((one) => [...programsBySection(one)]).filter(([heading]) => heading !== SHARED);
    expect(sections.length).toBeGreaterThanOrEqual(atLeast);
    expect(sections.filter(([, programs]) => programs === 0)).toEqual([]);
  });
});

describe('docs/operators.md', () => {
  it('shows a program for every operator in docs/operators.md or docs/operators/streams.md', () => {
    const sections = new Map(
      ['docs/operators.md', 'docs/operators/streams.md'].flatMap((page) => [...programsBySection(page)]),
    );
    // Classes start with a capital letter and type guards with `is`. Every other function is an operator.
    const names = Object.keys(operators).filter((name) => /^(?!is[A-Z])[a-z]/.test(name));
    expect(names).toContain('retryBackoff');
    expect(names.filter((name) => !sections.get(`\`${name}\``))).toEqual([]);
  });
});
