import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RENDERED_PAGES, renderedPage } from '../../docs/tools/rendered-pages.mjs';
import { PAGES, ROOT, brokenLinks, linksOf, pageText } from './markdown.js';

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
