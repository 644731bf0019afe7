import { boundText, isWithin, type Bound } from '../../support/bound.js';
import type { Length, Measured, Scenario, Which } from './scenario.js';

/** A figure compared with its bound. */
export interface Judgment {
  /** Name of the figure; may end in ' @' and the upstream or the variant that was measured. */
  readonly figure: string;
  /** `undefined` if the figure was not measured. */
  readonly value: number | string | undefined;
  readonly bound: Bound;
  readonly timed: boolean;
  /** True if `value` is within `bound`. */
  readonly ok: boolean;
}

type Judged = Pick<Scenario, 'bounds' | 'fullBounds'>;

function boundsOf({ bounds, fullBounds }: Judged, length: Length): Scenario['bounds'] {
  return length === 'full' ? { ...bounds, ...fullBounds } : bounds;
}

/** Compares figures with their bounds; omits timed bounds if `which` is 'counts'. A figure that was not measured is not ok. */
export function judge(scenario: Judged, measured: Measured, length: Length, which: Which): readonly Judgment[] {
  return Object.entries(boundsOf(scenario, length)).flatMap(
    ([name, { timed = false, ...bound }]): readonly Judgment[] => {
      if (timed && which === 'counts') return [];
      const found = Object.entries(measured).filter(([key]) => figureOf(key) === name);
      if (found.length === 0) return [{ figure: name, value: undefined, bound, timed, ok: false }];
      return found.map(([figure, value]) => ({ figure, value, bound, timed, ok: isWithin(value, bound) }));
    },
  );
}

/** Returns one sentence for each judgment that is not ok: 'failed @grpcio, TLS is 3 (≤ 0)'. */
export function brokenOf(judgments: readonly Judgment[]): readonly string[] {
  return judgments
    .filter(({ ok }) => !ok)
    .map(({ figure, value, bound }) =>
      value === undefined ? `${figure} was not measured` : `${figure} is ${value}${inParentheses(bound)}`,
    );
}

/** Returns the figures on one line, by upstream. A bound follows only the first value of its figure. */
export function inOneLine(scenario: Judged & Pick<Scenario, 'name'>, measured: Measured, length: Length): string {
  const bounds = boundsOf(scenario, length);
  const bounded = new Set<string>();
  const parts = new Map<string, string[]>();
  for (const [key, value] of Object.entries(measured)) {
    const figure = figureOf(key);
    const upstream = key.slice(figure.length).replace(' @', '');
    const bound = bounded.has(figure) ? undefined : bounds[figure];
    bounded.add(figure);
    const rounded = typeof value === 'number' ? Math.round(value * 1_000) / 1_000 : value;
    parts.set(upstream, [...(parts.get(upstream) ?? []), `${figure} ${rounded}${inParentheses(bound)}`]);
  }
  const sections = [...parts].map(([upstream, figures]) => `${upstream && `[${upstream}] `}${figures.join(', ')}`);
  return `${scenario.name}: ${sections.join('; ')}`;
}

const figureOf = (key: string): string => key.split(' @', 1)[0] ?? key;

function inParentheses(bound: Bound = {}): string {
  const text = boundText(bound);
  return text && ` (${text})`;
}
