import { existsSync } from 'node:fs';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Where a Chromium is; undefined where there is none, or `CHROMIUM=` says that none is wanted. */
export const CHROMIUM = (process.env['CHROMIUM'] ?? PLACES.find((path) => existsSync(path))) || undefined;

if (CHROMIUM === undefined)
  console.warn(`No Chromium at ${PLACES.join(', ')} or in CHROMIUM: tests of pages in a browser are skipped.`);

export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM!, args: ['--no-sandbox', '--disable-quic'] });
}

/** A page somebody looks at, and all that is wrong with it: what it complains of, and what it asked others for. */
export interface WatchedPage {
  readonly page: Page;
  /** Errors on its console, exceptions, and requests to other hosts. */
  readonly problems: readonly string[];
  close(): Promise<void>;
}

/** Opens `url` in a tab of its own, and has it watched. `ignored`: what it may complain of. */
export async function openPage(
  browser: Browser,
  url: string,
  { ignored, ...options }: BrowserContextOptions & { readonly ignored?: RegExp } = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({ viewport: { width: 1_200, height: 800 }, ...options });
  const page = await context.newPage();
  const problems: string[] = [];
  const { host } = new URL(url);
  page.on('console', (message) => {
    if (message.type() === 'error' && !ignored?.test(message.text())) problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(error.stack ?? error.message));
  page.on('dialog', (dialog) => {
    problems.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('request', (request) => {
    if (new URL(request.url()).host !== host) problems.push(`a request to ${request.url()}`);
  });
  await page.goto(url, { waitUntil: 'domcontentloaded' });
  return { page, problems, close: () => context.close() };
}
