import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sidebar } from '../../docs/.vitepress/sidebar.mjs';
import { openPage, startBrowser, type WatchedPage } from '../support/browser.js';
import { isInstalled } from '../support/programs.js';
import { ROOT, USER_PAGES, pageText } from './markdown.js';

const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };

/** Folder of the site as `npm run docs` builds it. */
let site: string;
// Also checks the links: the build fails if a link between pages is broken.
beforeAll(async () => {
  site = mkdtempSync(join(tmpdir(), 'site-'));
  const vitepress = join(ROOT, 'node_modules/vitepress/bin/vitepress.js');
  await promisify(execFile)(process.execPath, [vitepress, 'build', 'docs', '--outDir', site], { cwd: ROOT });
}, 300_000);
afterAll(() => rmSync(site, { recursive: true }));

/** The path of a page of docs/ on the site. */
function pathOf(page: string): string {
  return page.replace(/^docs\//, '/').replace(/index\.md$|\.md$/, (end) => (end === 'index.md' ? '' : '.html'));
}

describe('docs site', () => {
  it('builds exactly one page of the site per page for users', () => {
    const built = readdirSync(site, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.html') && file !== '404.html')
      .map((file) => `/${file.replace(/index\.html$/, '')}`);
    expect(built.sort()).toEqual(USER_PAGES.map(pathOf).sort());
  });

  it('links each page exactly once in the sidebar of the site', () => {
    const links = sidebar().flatMap(({ items }) =>
      items.map(({ link }) => (link.endsWith('/') ? link : `${link}.html`)),
    );
    expect([...links, '/'].sort()).toEqual(USER_PAGES.map(pathOf).sort());
  });

  it('publishes llms.txt, llms-full.txt, and each page as Markdown on the site', () => {
    const index = readFileSync(join(site, 'llms.txt'), 'utf8');
    const listed = [...index.matchAll(/^- \[.+\]\((\S+\.md)\)/gm)].map(([, path]) => `docs/${path!}`);
    expect([...listed, 'docs/index.md'].sort()).toEqual([...USER_PAGES].sort());
    for (const page of listed)
      expect(readFileSync(join(site, page.slice('docs/'.length)), 'utf8')).toBe(pageText(page));
    expect(readFileSync(join(site, 'llms-full.txt'), 'utf8')).toContain(pageText('docs/guides/retries.md').trim());
  });

  it('loads nothing from other hosts on any page of the site', () => {
    const pages = readdirSync(site, { recursive: true, encoding: 'utf8' }).filter((file) => /\.(html|css)$/.test(file));
    const foreign = pages.flatMap((file) => [
      ...readFileSync(join(site, file), 'utf8').matchAll(
        /(<(script|img|link)[^>]+(src|href)="|url\(|@import ")https?:[^">)]+/g,
      ),
    ]);
    expect(foreign.map(([text]) => text)).toEqual([]);
  });
});

describe.skipIf(!isInstalled('Chromium'))('docs site in a browser', { timeout: 120_000 }, () => {
  const server = createServer(({ url = '/' }, response) => {
    const path = join(site, url.endsWith('/') ? `${url}index.html` : url);
    try {
      const body = readFileSync(path);
      response.setHeader('content-type', TYPES[extname(path)] ?? 'application/octet-stream').end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  let browser: Browser;
  let url: string;
  beforeAll(async () => {
    await once(server.listen(0, '127.0.0.1'), 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await startBrowser();
  });
  afterAll(async () => {
    await browser.close();
    server.closeAllConnections();
    await promisify(server.close.bind(server))();
  });

  /** True if the page scrolls horizontally. */
  const isTooWide = async ({ page }: WatchedPage) =>
    (await page.evaluate('document.documentElement.scrollWidth > document.documentElement.clientWidth')) === true;

  it('reaches a problem page from the home page through the top navigation', async () => {
    const watched = await openPage(browser, `${url}/`);
    const { page, problems } = watched;
    await page.locator('.VPNavBarMenu').getByRole('link', { name: 'Problems' }).click();
    await page.waitForURL(`${url}/problems/`);
    await page.locator('.vp-doc a[href*="connection-lost"]').first().click();
    await page.waitForURL(/\/problems\/connection-lost\.html/);
    // Waits for the heading, because the site changes the URL before it shows the page.
    await page.locator('.vp-doc h1').waitFor();
    expect([await isTooWide(watched), problems]).toEqual([false, []]);
    await watched.close();
  });

  it.each([
    ['Received RST_STREAM with code 0', 'connection-lost'],
    ['connect ECONNREFUSED 10.244.1.7:50051', 'cannot-connect'],
    ['too-many-waiting', 'cannot-connect'],
    ['throttled', 'load'],
    ['Bandwidth exhausted', 'resource-exhausted'],
  ])('finds the problem page for "%s" by search', async (text, problem) => {
    const { page, problems, close } = await openPage(browser, `${url}/`);
    await page.getByRole('button', { name: 'Search' }).first().click();
    await page.locator('.VPLocalSearchBox input').fill(text);
    await page.locator(`.VPLocalSearchBox .result[href*="/problems/${problem}.html"]`).first().waitFor();
    const first = await page.locator('.VPLocalSearchBox .result').first().getAttribute('href');
    expect(first).toContain(`/problems/${problem}.html`);
    expect(problems).toEqual([]);
    await close();
  });

  it.each(['/', '/guides/shutdown.html', '/reference/client-options.html'])(
    'finds no accessibility problem on %s',
    async (path) => {
      const { page, close } = await openPage(browser, `${url}${path}`);
      await page.addScriptTag({ path: join(ROOT, 'node_modules/axe-core/axe.min.js') });
      const { violations } = await page.evaluate<{ readonly violations: readonly { id: string }[] }>('axe.run()');
      expect(violations.map(({ id }) => id)).toEqual([]);
      await close();
    },
  );

  it.each([390, 1_200])(
    'renders a problem page of the site in dark mode at a width of %d pixels without horizontal scrolling',
    async (width) => {
      const watched = await openPage(browser, `${url}/problems/cannot-connect.html`, {
        colorScheme: 'dark',
        viewport: { width, height: 800 },
      });
      const background = String(await watched.page.evaluate('getComputedStyle(document.body).backgroundColor'));
      expect(background.match(/\d+/g)!.every((part) => Number(part) < 64)).toBe(true);
      expect([await isTooWide(watched), watched.problems]).toEqual([false, []]);
      await watched.close();
    },
  );
});
