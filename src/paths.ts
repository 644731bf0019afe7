import { join } from 'node:path';

/** The folder that holds src/ and dist/: what is no TypeScript (protos, the page) is read from the sources. */
export const ROOT = join(import.meta.dirname, '..');
