/** The required range of a measured figure. */
export interface Bound {
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** True if `value` is a finite number within `bound`. */
export function isWithin(value: number | string, { atLeast = -Infinity, atMost = Infinity }: Bound): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= atLeast && value <= atMost;
}

/** `bound` as readable text: '= 2', '≥ 1', '≥ 1, ≤ 4'; '' if it has no limit. */
export function boundText({ atLeast, atMost }: Bound): string {
  if (atLeast !== undefined && atLeast === atMost) return `= ${atLeast}`;
  const limits = [atLeast !== undefined ? `≥ ${atLeast}` : '', atMost !== undefined ? `≤ ${atMost}` : ''];
  return limits.filter(Boolean).join(', ');
}
