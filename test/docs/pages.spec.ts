import { describe, expect, it } from 'vitest';
import { RENDERED_PAGES, renderedPage } from '../../docs/tools/rendered-pages.mjs';
import { restartPicture } from '../../docs/tools/results.mjs';
import { PAGES, USER_PAGES, brokenLinks, pageText } from './markdown.js';

describe.each(PAGES)('%s', (page) => {
  it(`finds no broken relative links in ${page}`, () => {
    expect(brokenLinks(page)).toEqual([]);
  });
});

describe.each(RENDERED_PAGES)('%s', (page) => {
  it(`keeps the rendered parts and the programs of ${page} in sync with their sources (\`node docs/render.mjs\` updates them)`, async () => {
    const { text, rendered } = await renderedPage(page);
    expect(text).toBe(rendered);
  });
});

it('keeps the picture of a restart in sync with docs/results.json (`node docs/render.mjs` redraws it)', () => {
  const { text, rendered } = restartPicture();
  expect(text).toBe(rendered);
});

// A limit on the whole, not per page: a page may be as long as its subject, but what is added must replace something.
it('keeps the docs small enough to be read', () => {
  const bytesOf = (page: string) => Buffer.byteLength(pageText(page));
  expect(USER_PAGES.length).toBeLessThanOrEqual(62);
  expect(USER_PAGES.map(bytesOf).reduce((sum, bytes) => sum + bytes)).toBeLessThanOrEqual(465_000);
  expect(bytesOf('README.md')).toBeLessThanOrEqual(7_000);
  expect(pageText('README.md').split(/\s+/).filter(Boolean).length).toBeLessThanOrEqual(900);
});
