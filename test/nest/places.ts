import { join } from 'node:path';

export const ORDERS_PROTO = join(import.meta.dirname, '../../protos/orders.proto');
export const ARCHIVE_PROTO = join(import.meta.dirname, 'protos/archive.proto');
export const HERO_PROTO = join(import.meta.dirname, 'protos/hero.proto');
export const NAMES_PROTO = join(import.meta.dirname, 'protos/names.proto');

/** Path of the test certificate or key `name`. */
export const certificate = (name: string) => join(import.meta.dirname, '../fixtures/tls', `${name}.pem`);
