import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const PROTOS = join(import.meta.dirname, 'protos');

/** Include directories that resolve the imports of shop.proto. */
export const INCLUDES = [PROTOS];
export const KINDS_PROTO = join(PROTOS, 'kinds.proto');
export const ARCHIVE_PROTO = join(PROTOS, 'archive.proto');
/** Path of shop.proto, relative to the folder in `INCLUDES`. */
export const SHOP_PROTO = 'shop.proto';

/** Reads a certificate or a key from the fixtures. */
export const pem = (name: string): Buffer =>
  readFileSync(join(import.meta.dirname, '../../fixtures/tls', `${name}.pem`));
