import { join } from 'node:path';
import { ROOT } from './paths.js';

/** The contract of the upstream in Nest's own keys: the same for its server, Nest's client and ours. */
export const ORDERS_CONTRACT = {
  package: 'orders.v1',
  protoPath: join(ROOT, 'protos', 'orders.proto'),
  // As the generated types say: 64-bit numbers are strings, and a field that is not on the wire has its default.
  loader: { longs: String, defaults: true },
};
