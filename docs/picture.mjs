// node docs/picture.mjs: takes screenshots of the dashboard after the server is killed. Run `npx tsc -b` first to build the demo. The
// environment variable CHROMIUM is the path of the browser (default: /usr/bin/chromium).
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
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
  gateway.once('exit', () => reject(new Error(`the gateway exited before it listened:\n${output}`)));
});

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-quic', '--hide-scrollbars'],
});
try {
  const page = await browser.newPage();
  await page.goto(url, { waitUntil: 'domcontentloaded' });

  // Leaves the page of the demo open, so that the load continues.
  const dashboards = await Promise.all(
    ['light', 'dark'].map(async (colorScheme) => {
      const dashboard = await browser.newPage({ viewport: { width: 1_200, height: 1_000 }, colorScheme });
      await dashboard.goto(`${url}/grpc`, { waitUntil: 'domcontentloaded' });
      return { dashboard, path: join(ROOT, `docs/operate/dashboard-${colorScheme}.png`) };
    }),
  );
  // Waits until the charts show more than 40 s of load.
  await delay(40_000);
  await fetch(`${url}/faults/kill`, { method: 'POST' });
  await Promise.all(
    dashboards.map(async ({ dashboard, path }) => {
      await dashboard.getByText(/waiting calls fail in 2\.\d s/).waitFor();
      await dashboard.screenshot({ path });
    }),
  );
} finally {
  await browser.close();
  gateway.kill('SIGTERM');
}
