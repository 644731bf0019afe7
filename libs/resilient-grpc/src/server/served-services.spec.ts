import { describe, expect, it } from 'vitest';
import { servedServices } from './served-services.js';

const all = ['orders.v1.Orders', 'orders.v1.inner.Notes', 'orders.v10.Orders', 'archive.v1.Orders', 'Plain'];
const services = new Map(all.map((name) => [name, new Map<string, never>()]));

describe('the services that are served of a definition', () => {
  it.each([
    ['a package and those inside it', 'orders.v1', ['orders.v1.Orders', 'orders.v1.inner.Notes']],
    ['several packages', ['archive.v1', 'orders.v10'], ['orders.v10.Orders', 'archive.v1.Orders']],
    ['a package above others', 'orders', ['orders.v1.Orders', 'orders.v1.inner.Notes', 'orders.v10.Orders']],
    ['no package, which is all', undefined, all],
    ['an empty package, which is all', '', all],
  ])('are those of %s', (_what, packages, served) => {
    expect([...servedServices(services, packages).keys()]).toEqual(served);
  });
});
