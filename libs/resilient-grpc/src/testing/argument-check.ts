/**
 * What a method says of an argument that cannot be: `check(holds, 'times as an integer of 1 or more', times)`.
 *
 * @throws RangeError from what it gives, where `holds` is false
 */
export function checker(method: string) {
  return (holds: boolean, expected: string, got: unknown): void => {
    if (holds) return;
    throw new RangeError(`${method}: expected ${expected}, got ${shown(got).slice(0, 100)}`);
  };
}

export function isInteger(value: unknown, from: number, to = Number.MAX_SAFE_INTEGER): boolean {
  return Number.isInteger(value) && Number(value) >= from && Number(value) <= to;
}

function shown(got: unknown): string {
  if (typeof got === 'string') return `'${got}'`;
  return typeof got === 'number' || got === undefined ? String(got) : JSON.stringify(got);
}
