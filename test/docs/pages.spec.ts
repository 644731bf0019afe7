import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as operators from 'nestjs-resilient-grpc/operators';
import { RENDERED_PAGES, renderedPage } from '../../docs/tools/rendered-pages.mjs';
import { PAGES, brokenLinks, linksOf, programsBySection } from './markdown.js';

/** Heading of the last section on pages whose programs share code. */
const SHARED = 'Shared setup';

describe.each(PAGES)('%s', (page) => {
  it('contains no broken links', () => {
    expect(brokenLinks(page)).toEqual([]);
  });
});

describe.each(RENDERED_PAGES)('%s', (page) => {
  it('matches the options and numbers in the source; `node docs/render.mjs` updates it', async () => {
    const { text, rendered } = await renderedPage(page);
    expect(text).toBe(rendered);
  });
});

describe('docs', () => {
  it('lead from the README to every page', () => {
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

describe.each([
  ['docs/policies.md', 'policy', 10],
  ['docs/streams.md', 'part', 6],
])('%s', (page, what, atLeast) => {
  it(`contains a program for every ${what}`, () => {
    const sections = [...programsBySection(page)].filter(([heading]) => heading !== SHARED);
    expect(sections.length).toBeGreaterThanOrEqual(atLeast);
    expect(sections.filter(([, programs]) => programs === 0)).toEqual([]);
  });
});

describe('docs/operators.md', () => {
  it('contains a program for every operator', () => {
    const sections = programsBySection('docs/operators.md');
    // Classes start with a capital letter and type guards with `is`. Every other function is an operator.
    const names = Object.keys(operators).filter((name) => /^(?!is[A-Z])[a-z]/.test(name));
    expect(names).toContain('retryBackoff');
    expect(names.filter((name) => !sections.get(`\`${name}\``))).toEqual([]);
  });
});
