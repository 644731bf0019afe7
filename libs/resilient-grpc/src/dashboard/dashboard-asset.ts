import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A file that the page is made of. */
export interface DashboardAsset {
  readonly type: string;
  readonly body: Buffer;
  /** Of its content, as HTTP writes it. */
  readonly tag: string;
}

/** The page itself. */
export const PAGE = 'index.html';

// Beside src and dist alike.
const FOLDER = new URL('../../assets/dashboard/', import.meta.url);
const OWN = [
  PAGE,
  'dashboard.css',
  'tables.css',
  'details.css',
  'page.js',
  'dashboard.js',
  'live-feed.js',
  'client-state.js',
  'overview.js',
  'details.js',
  'details-tables.js',
  'parts.js',
  'state-strip.js',
  'rate-chart.js',
  'format.js',
  'well.svg',
  'trouble.svg',
];
/** The chart library, by what its files are called here. */
const OF_UPLOT = { 'uplot.js': 'uplot/dist/uPlot.iife.min.js', 'uplot.css': 'uplot/dist/uPlot.min.css' };

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/**
 * Reads the files of the page, by name.
 *
 * @throws Error with what to do where they are not beside the code
 */
export function readDashboardAssets(): ReadonlyMap<string, DashboardAsset> {
  const require = createRequire(import.meta.url);
  try {
    return new Map([
      ...OWN.map((name) => [name, asset(name, fileURLToPath(new URL(name, FOLDER)))] as const),
      ...Object.entries(OF_UPLOT).map(([name, file]) => [name, asset(name, require.resolve(file))] as const),
    ]);
  } catch (error) {
    throw new Error(
      `The files of the dashboard are not where its code is (${String(error)}); ` +
        'a program bundled to one file leaves nestjs-resilient-grpc out of the bundle (external)',
      { cause: error },
    );
  }
}

function asset(name: string, path: string): DashboardAsset {
  const body = readFileSync(path);
  const tag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 20)}"`;
  return { body, tag, type: TYPES[extname(name)] ?? 'application/octet-stream' };
}
