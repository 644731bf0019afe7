import { createHash } from 'node:crypto';
import { extname } from 'node:path';
import { readPageFiles } from './page-files.js';

/** File of the dashboard page. */
export interface DashboardAsset {
  readonly type: string;
  readonly body: string;
  /** ETag of the content. */
  readonly tag: string;
}

/** File name of the page. */
export const PAGE_FILE = 'index.html';

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** Returns the files of the page, by name. */
export function dashboardAssets(): ReadonlyMap<string, DashboardAsset> {
  return new Map(
    Object.entries(readPageFiles()).map(([name, body]) => {
      const tag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 20)}"`;
      return [name, { body, tag, type: CONTENT_TYPES[extname(name)] ?? 'application/octet-stream' }];
    }),
  );
}
