/**
 * True if `name` means the method at `path`: 'Get', 'Orders/Get', 'orders.v1.Orders/Get', or '/orders.v1.Orders/Get', with the method's
 * first letter in either case.
 */
export function isNameOf(path: string, name: string): boolean {
  const wanted = withUpperFirst(`/${name}`.replace('//', '/'));
  const called = withUpperFirst(path);
  return called.endsWith(wanted) || called.endsWith(wanted.replace('/', '.'));
}

/** Returns `path` with the first letter of its method in upper case. */
function withUpperFirst(path: string): string {
  const start = path.lastIndexOf('/') + 1;
  return path.slice(0, start) + path.charAt(start).toUpperCase() + path.slice(start + 1);
}
