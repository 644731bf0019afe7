import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ROOT } from '../docs/markdown.js';

/** Path of the alert rules from the root of the workspace. */
export const RULES_FILE = 'docs/operate/prometheus-rules.yml';
export const RULES_TEXT = readFileSync(join(ROOT, RULES_FILE), 'utf8');

interface RulesFile {
  readonly groups: readonly { readonly rules: readonly AlertRule[] }[];
}
interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: Readonly<Record<string, string>>;
}
export const RULES = (parse(RULES_TEXT) as RulesFile).groups.flatMap(({ rules }) => rules);

/** Some fields of a Grafana dashboard and of its panels. */
interface GrafanaDashboard {
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly type: string;
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
    readonly targets?: readonly { readonly expr: string }[];
  }[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
}
export const DASHBOARD = JSON.parse(
  readFileSync(join(ROOT, 'docs/operate/grafana-dashboard.json'), 'utf8'),
) as GrafanaDashboard;

/** The queries of the panels, each with the title of its panel. */
export const PANEL_QUERIES = DASHBOARD.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => [title, expr] as const),
);

/** Replaces the Grafana variables in a query: the rate interval with 1m, and each selection with a pattern that matches any value. */
export const withoutVariables = (query: string): string =>
  query.replaceAll('$__rate_interval', '1m').replaceAll(/\$(job|client|target)\b/g, '.*');

const METRIC = /\b(?:resilient_)?grpc_(?:client|server|subchannel|lb)_\w+/g;

export const metricsIn = (query: string): readonly string[] => [...new Set(query.match(METRIC))];

/** The labels that a query filters by, groups by, or matches on. */
export function labelsIn(query: string): readonly string[] {
  const grouped = [...query.matchAll(/\b(?:by|on) \(([\w, ]+)\)/g)].flatMap(([, names = '']) => names.split(', '));
  const selected = [...query.matchAll(/\{([^}]*)\}/g)].flatMap(([, matchers = '']) =>
    [...matchers.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)].map(([, name = '']) => name),
  );
  return [...new Set([...grouped, ...selected])].filter((name) => name !== '');
}
