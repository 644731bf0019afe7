import { join } from 'node:path';

/** The folder that contains src/ and dist/. Files other than TypeScript (protos, the page) are read from the sources. */
export const ROOT = join(import.meta.dirname, '..');
