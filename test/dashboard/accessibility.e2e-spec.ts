import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openPage, sharedBrowser } from '../support/browser.js';
import { isInstalled } from '../support/programs.js';
import { startViews, type Views } from './views.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Violations that axe-core finds, one string per element. */
async function violations(page: Page): Promise<readonly string[]> {
  // Evaluated by the debugger, because the content security policy of the page blocks other scripts.
  await page.evaluate(AXE);
  const results = await page.evaluate<AxeResults>('axe.run(document)');
  expect(results.passes.length).toBeGreaterThan(10);
  return results.violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ html, any }) => `${id}: ${help}: ${html}: ${any.map(({ message }) => message).join('; ')}`),
  );
}

describe.skipIf(!isInstalled('Chromium'))('accessibility of the dashboard page', { timeout: 300_000 }, () => {
  const browser = sharedBrowser();
  let views: Views;
  beforeAll(async () => {
    views = await startViews();
  }, 120_000);
  afterAll(() => views.close(), 120_000);

  it.for([
    ['light', 1_440],
    ['dark', 1_440],
    ['light', 390],
    ['dark', 390],
  ] as const)(
    'shows each view without accessibility violations and without clipped tables (%s, %d px wide)',
    async ([colorScheme, width], test) => {
      const found: Record<string, readonly string[]> = {};
      for (const view of views.all) {
        const { page, problems, close } = await openPage(browser(), view.url, {
          colorScheme,
          viewport: { width, height: 900 },
        });
        test.onTestFinished(close);
        await view.ready(page);
        const clipped = await page.evaluate<readonly string[]>(
          `[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)`,
        );
        expect(clipped, view.name).toEqual([]);
        expect(await page.evaluate('document.documentElement.scrollWidth'), view.name).toBe(width);
        expect(problems, view.name).toEqual([]);
        found[view.name] = await violations(page);
        await close();
      }
      expect(found).toEqual(Object.fromEntries(views.all.map(({ name }) => [name, []])));
    },
  );
});
