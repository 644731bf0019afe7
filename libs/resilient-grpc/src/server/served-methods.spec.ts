import { describe, expect, it } from 'vitest';
import { servedServices } from './served-methods.js';

const all = ['orders.v1.Orders', 'orders.v1.inner.Notes', 'orders.v10.Orders', 'archive.v1.Orders', 'Plain'];
const services = new Map(all.map((name) => [name, new Map<string, never>()]));

describe('servedServices', () => {
  it.each([
    ['a package and its subpackages', 'orders.v1', ['orders.v1.Orders', 'orders.v1.inner.Notes']],
    ['several packages', ['archive.v1', 'orders.v10'], ['orders.v10.Orders', 'archive.v1.Orders']],
    ['a parent package', 'orders', ['orders.v1.Orders', 'orders.v1.inner.Notes', 'orders.v10.Orders']],
    ['all packages if none is given', undefined, all],
    ['all packages if the given one is empty', '', all],
  ])('returns the services of %s', (_what, packages, served) => {
    expect([...servedServices(services, packages).keys()]).toEqual(served);
  });
});
