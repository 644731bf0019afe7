import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { afterAll, beforeAll } from 'vitest';
import { CHROMIUM } from './programs.js';

/** Timeout for the browser and for pages; only a browser that hangs reaches it. */
const LIMIT_MS = 60_000;

/** Host name that the browser resolves to this machine. Unlike pages on localhost, pages on this host are not secure contexts. */
export const PLAIN_HOST = 'plain.test';

export function startBrowser(): Promise<Browser> {
  // A page of PLAIN_HOST is like a page that another machine serves over plain HTTP.
  const args = ['--no-sandbox', '--disable-quic', `--host-resolver-rules=MAP ${PLAIN_HOST} 127.0.0.1`];
  return chromium.launch({ executablePath: CHROMIUM!, args, timeout: LIMIT_MS });
}

/**
 * Starts a browser for the tests of a `describe` block. The block fails if its tests leak resources. Returns a function that returns the
 * browser.
 */
export function sharedBrowser(): () => Browser {
  let leaks: ReturnType<typeof captureLeaks>;
  let browser: Browser;
  beforeAll(async () => {
    browser = await startBrowser();
    // Captured after the browser has started, because its processes release their pipes late.
    leaks = captureLeaks();
  }, 90_000);
  afterAll(async () => {
    await leaks.settled({ timeoutMs: LIMIT_MS });
    await browser.close();
  }, 90_000);
  return () => browser;
}

/** Pairs of an element and a text, by name. The page records when the element first contains the text. */
export type Sightings = Readonly<Record<string, { readonly selector: string; readonly text: string }>>;

/** A page in the browser, with the problems that it has reported. */
export interface WatchedPage {
  readonly page: Page;
  /** Errors on its console, exceptions, dialogs, and requests to other hosts. */
  readonly problems: readonly string[];
  /**
   * Waits until the text of `name` has appeared, however briefly. Resolves to the time at which it first appeared, in
   * milliseconds of the page's `performance.now()`.
   */
  sighted(name: string): Promise<number>;
  /** Clears all sightings, so that `sighted` waits for new ones. */
  forget(): Promise<void>;
  close(): Promise<void>;
}

/** Options of `openPage`. */
export interface WatchOptions extends BrowserContextOptions {
  /** Matches the console errors that do not count as problems. */
  readonly ignored?: RegExp;
  readonly sightings?: Sightings;
}

/** Opens `url` in a new tab and records its problems. */
export async function openPage(
  browser: Browser,
  url: string,
  { ignored, sightings = {}, ...options }: WatchOptions = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({ viewport: { width: 1_200, height: 800 }, ...options });
  context.setDefaultTimeout(LIMIT_MS);
  await context.addInitScript(recorderOf(sightings));
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
  const sighted = (name: string): Promise<number> =>
    waitFor(() => page.evaluate<number>(`sightedAt[${JSON.stringify(name)}] ?? 0`), {
      timeoutMs: LIMIT_MS,
      intervalMs: 50,
      describe: `the page to show ${name}`,
    });
  const forget = async (): Promise<void> => {
    await page.evaluate('sightedAt = {}');
  };
  return { page, problems, sighted, forget, close: () => context.close() };
}

/** A script that records the time at which each of `sightings` first appeared in the page. */
function recorderOf(sightings: Sightings): string {
  // Observers run after each change, so text is recorded even if it is replaced before the next frame.
  return `
    const sightings = ${JSON.stringify(Object.entries(sightings))};
    globalThis.sightedAt = {};
    new MutationObserver(() => {
      for (const [name, { selector, text }] of sightings)
        if (document.querySelector(selector)?.textContent.includes(text)) sightedAt[name] ??= performance.now();
    }).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });`;
}
