import { join } from 'node:path';
import { ROOT } from './paths.js';

/** The contract of the upstream, as options for Nest. The server, Nest's client, and our client use it. */
export const ORDERS_CONTRACT = {
  package: 'orders.v1',
  protoPath: join(ROOT, 'protos', 'orders.proto'),
  // Matches the generated types: 64-bit numbers are strings, and absent fields have their default values.
  loader: { longs: String, defaults: true },
};
