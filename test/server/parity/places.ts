import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const PROTOS = join(import.meta.dirname, 'protos');

/** What shop.proto imports is found from here. */
export const INCLUDES = [PROTOS];
export const KINDS_PROTO = join(PROTOS, 'kinds.proto');
export const ARCHIVE_PROTO = join(PROTOS, 'archive.proto');
/** By its name in `INCLUDES`. */
export const SHOP_PROTO = 'shop.proto';

/** One of the certificates or keys. */
export const pem = (name: string): Buffer =>
  readFileSync(join(import.meta.dirname, '../../fixtures/tls', `${name}.pem`));
