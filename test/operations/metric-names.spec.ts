import { METRICS, collectedNames } from './telemetry-table.js';
import { describe, expect, it } from 'vitest';
import { pageText } from '../docs/markdown.js';
import { DASHBOARD, PANEL_QUERIES, RULES, labelsIn, metricsIn, withoutVariables } from './operations-files.js';

/** Labels that Prometheus and histograms add. */
const ADDED = ['job', 'instance', 'le'];

const QUERIES = [
  ...PANEL_QUERIES.map(([title, query]) => [`panel '${title}'`, withoutVariables(query)] as const),
  ...RULES.map(({ alert, expr }) => [`alert ${alert}`, expr] as const),
];

describe('docs/reference/metrics.md', () => {
  it('lists in docs/reference/metrics.md exactly the metrics that the Prometheus exporter writes', async () => {
    expect([...METRICS.keys()].sort()).toEqual(await collectedNames());
  });
});

describe.each(QUERIES)('%s', (title, query) => {
  it(`uses only exported metrics and their labels in the query of ${title}`, () => {
    const metrics = metricsIn(query);
    expect(metrics.length).toBeGreaterThan(0);
    expect(metrics.filter((name) => !METRICS.has(name))).toEqual([]);
    for (const name of metrics) {
      expect(labelsIn(query).filter((label) => ![...ADDED, ...(METRICS.get(name) ?? [])].includes(label))).toEqual([]);
    }
  });
});

describe('the dashboard for Grafana', () => {
  it('shows every metric of this library except the drain durations on the Grafana dashboard', () => {
    const shown = PANEL_QUERIES.flatMap(([, query]) => metricsIn(query)).map(instrument);
    const own = [...METRICS.keys()].filter((name) => name.startsWith('resilient_grpc_')).map(instrument);
    // For drains, the dashboard shows only the number of calls that were cut off.
    expect([...new Set(own)].filter((name) => !shown.includes(name) && !name.endsWith('drain_duration'))).toEqual([]);
  });

  it('places the panels of the Grafana dashboard within 24 columns, without overlap', () => {
    const cells = DASHBOARD.panels.flatMap(({ title, gridPos: { x, y, w, h } }) => {
      expect(x + w, title).toBeLessThanOrEqual(24);
      return Array.from({ length: w * h }, (_cell, at) => `${String(x + (at % w))},${String(y + Math.floor(at / w))}`);
    });
    expect(new Set(cells).size).toBe(cells.length);
    expect(new Set(DASHBOARD.panels.map(({ id }) => id)).size).toBe(DASHBOARD.panels.length);
  });

  it('uses existing metrics for the variables of the Grafana dashboard', () => {
    const definitions = DASHBOARD.templating.list.flatMap(({ definition }) => definition ?? []);
    expect(definitions.length).toBe(3);
    for (const name of definitions.flatMap(metricsIn)) expect(METRICS.has(name), name).toBe(true);
  });
});

describe('docs/operate', () => {
  it('describes each alert rule under its own heading in docs/operate', () => {
    const headings = [...pageText('docs/operate/runbook.md').matchAll(/^### `(\w+)`$/gm)].map(([, name]) => name);
    expect(headings).toEqual(RULES.map(({ alert }) => alert));
  });

  it('links each alert rule to its heading in the runbook', () => {
    const anchors = RULES.map(
      ({ annotations }) => /\/operate\/runbook\.html#(\w+)$/.exec(annotations['runbook_url']!)?.[1],
    );
    expect(anchors).toEqual(RULES.map(({ alert }) => alert.toLowerCase()));
  });
});

/** The name of a metric without the suffixes of histograms and counters. */
function instrument(name: string): string {
  return name.replace(/_(bucket|count|sum|total)$/, '');
}
