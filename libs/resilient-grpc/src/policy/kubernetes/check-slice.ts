import type { EndpointSlice } from './endpoint-slice.js';

/**
 * Returns `slice` if its lists, addresses, and ports have the types that Kubernetes defines. Other fields are not checked.
 * @throws TypeError if a field has another type
 */
export function checkSlice(slice: unknown): EndpointSlice {
  const { endpoints, ports } = fieldsOf('', slice);
  for (const [index, endpoint] of listOf('endpoints', endpoints).entries()) {
    const path = `endpoints[${String(index)}]`;
    const { addresses } = fieldsOf(path, endpoint);
    for (const address of listOf(`${path}.addresses`, addresses))
      check(`${path}.addresses`, 'strings', address, typeof address === 'string');
  }
  for (const [index, item] of listOf('ports', ports).entries()) {
    const path = `ports[${String(index)}]`;
    const { name, port, protocol } = fieldsOf(path, item);
    check(`${path}.name`, 'a string', name, isTextOrAbsent(name));
    check(`${path}.port`, 'an integer', port, (port ?? undefined) === undefined || Number.isInteger(port));
    check(`${path}.protocol`, 'a string', protocol, isTextOrAbsent(protocol));
  }
  return slice as EndpointSlice;
}

function fieldsOf(path: string, value: unknown): Readonly<Record<string, unknown>> {
  check(path, 'an object', value, typeof value === 'object' && value !== null);
  return value as Readonly<Record<string, unknown>>;
}

/** Returns the items of a list. Kubernetes may send `null`, or omit the field, if the list is empty. */
function listOf(path: string, value: unknown): readonly unknown[] {
  const list = value ?? [];
  check(path, 'an array', list, Array.isArray(list));
  return list as readonly unknown[];
}

const isTextOrAbsent = (value: unknown): boolean => (value ?? '') === '' || typeof value === 'string';

function check(path: string, expected: string, value: unknown, isValid: boolean): void {
  if (isValid) return;
  const got = value === null ? 'null' : typeof value === 'number' ? String(value) : typeof value;
  throw new TypeError(`invalid EndpointSlice: ${path === '' ? '' : `${path}: `}expected ${expected}, got ${got}`);
}
