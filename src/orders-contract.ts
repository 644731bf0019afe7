import { join } from 'node:path';

/** The folder that contains src/ and dist/. Files other than TypeScript (protos, the page) are read from the sources. */
export const ROOT = join(import.meta.dirname, '..');

/** The contract of the upstream, as options for Nest. The server, Nest's client, and our client use it. */
export const ORDERS_CONTRACT = {
  package: 'orders.v1',
  protoPath: join(ROOT, 'protos', 'orders.proto'),
  // Matches the generated types: 64-bit numbers are strings, and absent fields have their default values.
  loader: { longs: String, defaults: true },
};
