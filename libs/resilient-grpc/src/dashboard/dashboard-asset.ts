import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** File of the dashboard page. */
export interface DashboardAsset {
  readonly type: string;
  readonly body: Buffer;
  /** ETag of the content. */
  readonly tag: string;
}

/** File name of the page. */
export const PAGE_FILE = 'index.html';

// The relative path is the same from src and dist.
const FOLDER = new URL('../../assets/dashboard/', import.meta.url);
/** Files of the chart library, by the name under which the page loads them. */
const UPLOT_FILES = { 'uplot.js': 'uplot/dist/uPlot.iife.min.js', 'uplot.css': 'uplot/dist/uPlot.min.css' };

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/**
 * Reads the files of the page, by name.
 *
 * @throws Error with a remedy if a file cannot be read, for example because the application is bundled
 */
export function readDashboardAssets(): ReadonlyMap<string, DashboardAsset> {
  const require = createRequire(import.meta.url);
  try {
    return new Map([
      ...readdirSync(FOLDER).map((name) => [name, asset(name, fileURLToPath(new URL(name, FOLDER)))] as const),
      ...Object.entries(UPLOT_FILES).map(([name, file]) => [name, asset(name, require.resolve(file))] as const),
    ]);
  } catch (error) {
    throw new Error(
      `Cannot read the files of the dashboard (${String(error)}); ` +
        'if the application is bundled, mark nestjs-resilient-grpc as external',
      { cause: error },
    );
  }
}

function asset(name: string, path: string): DashboardAsset {
  const body = readFileSync(path);
  const tag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 20)}"`;
  return { body, tag, type: CONTENT_TYPES[extname(name)] ?? 'application/octet-stream' };
}
