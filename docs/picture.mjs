// node docs/picture.mjs: takes docs/demo.png, the page just before the server is back. `npx tsc -b` builds the demo first;
// CHROMIUM names the browser.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const ROOT = join(import.meta.dirname, '..');

const gateway = spawn(process.execPath, [join(ROOT, 'dist/main.js')], {
  env: { ...process.env, PORT: '0' },
  stdio: ['ignore', 'pipe', 'inherit'],
});
const url = await new Promise((resolve, reject) => {
  let output = '';
  gateway.stdout.on('data', (chunk) => {
    output += String(chunk);
    const address = /The demo: (\S+)/.exec(output)?.[1];
    if (address) resolve(address);
  });
  gateway.once('exit', () => reject(new Error(`the gateway ended before it listened:\n${output}`)));
});

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-quic', '--hide-scrollbars'],
});
try {
  const page = await browser.newPage({ viewport: { width: 1_200, height: 750 }, colorScheme: 'light' });
  await page.goto(url, { waitUntil: 'domcontentloaded' });
  await page.waitForFunction(
    () =>
      document.querySelector('#server').dataset.state === 'away' &&
      Number(document.querySelector('#countdown-seconds').textContent) <= 0.5,
    undefined,
    { timeout: 30_000 },
  );
  await page.screenshot({ path: join(ROOT, 'docs/demo.png') });
} finally {
  await browser.close();
  gateway.kill('SIGTERM');
}
