import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';
import { ROOT } from './source-file.mjs';

/** Path of the Grafana dashboard, relative to the root. */
const GRAFANA_DASHBOARD = 'docs/operations/grafana-dashboard.json';

const JOB = 'job=~"$job"';
/** Label matchers for this library's client metrics. */
const CLIENT = `${JOB}, resilient_grpc_client=~"$client"`;
/** Label matchers for the clients' gRPC metrics, which have no label for the name of the client. */
const TARGET = `${JOB}, grpc_target=~"$target"`;

const rate = (metric, labels) => `rate(${metric}{${labels}}[$__rate_interval])`;
const increase = (metric, labels) => `increase(${metric}{${labels}}[$__rate_interval])`;
const quantile = (share, metric, by, labels) =>
  `histogram_quantile(${share}, sum by (le, ${by}) (${rate(`${metric}_bucket`, labels)}))`;
const latency = (metric, by, labels) =>
  [0.5, 0.9, 0.99].map((share) => [quantile(share, metric, by, labels), `p${share * 100} {{${by}}}`]);

/** Rows of panels. A panel has a title, a Grafana unit, queries with their legends, and a description. */
const ROWS = [
  {
    title: 'Clients: calls',
    panels: [
      {
        title: 'Calls by status',
        unit: 'reqps',
        queries: [
          [
            `sum by (grpc_target, grpc_status) (${rate('grpc_client_call_duration_count', TARGET)})`,
            '{{grpc_target}} {{grpc_status}}',
          ],
        ],
        description: 'Ended calls per second. A call with several attempts counts once.',
      },
      {
        title: 'Failed calls',
        unit: 'percentunit',
        queries: [
          [
            `sum by (grpc_target, grpc_method) (${rate('grpc_client_call_duration_count', `${TARGET}, grpc_status!~"OK|CANCELLED"`)}) / sum by (grpc_target, grpc_method) (${rate('grpc_client_call_duration_count', TARGET)})`,
            '{{grpc_target}} {{grpc_method}}',
          ],
        ],
        description: 'Share of calls that failed after retries. Calls that were cancelled do not count as failed.',
      },
      {
        title: 'Duration of calls',
        unit: 's',
        queries: latency('grpc_client_call_duration', 'grpc_target', TARGET),
        description: 'Time from the subscription to the end of the call, including waits and retries.',
      },
      {
        title: 'Duration of attempts',
        unit: 's',
        queries: latency('grpc_client_attempt_duration', 'grpc_target', TARGET),
        description:
          'Duration of one attempt on a connection. If calls are slow but attempts are not, calls wait or are retried.',
      },
      {
        title: 'Attempts per call',
        unit: 'none',
        queries: [
          [
            `sum by (grpc_target) (${rate('grpc_client_attempt_started_total', TARGET)}) / sum by (grpc_target) (${rate('grpc_client_call_duration_count', TARGET)})`,
            '{{grpc_target}}',
          ],
        ],
        description: '1 without retries or hedges. A higher value means additional load on the server.',
      },
      {
        title: 'Attempts that were not retried',
        unit: 'ops',
        queries: [
          [
            `sum by (resilient_grpc_client, resilient_grpc_reason) (${rate('resilient_grpc_client_not_retried_total', CLIENT)})`,
            '{{resilient_grpc_client}} {{resilient_grpc_reason}}',
          ],
        ],
        description: 'Failed attempts by the reason why no further attempt followed.',
      },
    ],
  },
  {
    title: 'Clients: outages and waiting calls',
    panels: [
      {
        title: 'Processes in an outage',
        unit: 'none',
        queries: [
          [
            `sum by (resilient_grpc_client) (resilient_grpc_client_outages_total{${CLIENT}}) - (sum by (resilient_grpc_client) (resilient_grpc_client_outage_duration_count{${CLIENT}}) or 0 * sum by (resilient_grpc_client) (resilient_grpc_client_outages_total{${CLIENT}}))`,
            '{{resilient_grpc_client}}',
          ],
        ],
        description: 'Outages that have started and not ended.',
      },
      {
        title: 'Waiting calls',
        unit: 'none',
        queries: [
          [
            `sum by (resilient_grpc_client) (resilient_grpc_client_waiting_calls{${CLIENT}})`,
            '{{resilient_grpc_client}}',
          ],
        ],
        description: 'Calls that wait for a connection, or for a free stream.',
      },
      {
        title: 'Longest wait',
        unit: 's',
        queries: [
          [
            `max by (resilient_grpc_client) (resilient_grpc_client_oldest_wait{${CLIENT}})`,
            '{{resilient_grpc_client}}',
          ],
        ],
        description: 'Time that the longest-waiting call has waited.',
      },
      {
        title: 'Ended waits',
        unit: 'ops',
        queries: [
          [
            `sum by (resilient_grpc_client, resilient_grpc_outcome) (${rate('resilient_grpc_client_wait_duration_count', CLIENT)})`,
            '{{resilient_grpc_client}} {{resilient_grpc_outcome}}',
          ],
          [
            `sum by (resilient_grpc_client) (${rate('resilient_grpc_client_stream_limit_reached_total', CLIENT)})`,
            '{{resilient_grpc_client}} stream limit reached',
          ],
        ],
        description:
          'released: the call was sent. refused: it waited too long, or too many calls waited. abandoned: cancelled, past its deadline, or ended by the shutdown of the client.',
      },
    ],
  },
  {
    title: 'Clients: connections and endpoints',
    panels: [
      {
        title: 'Open connections',
        unit: 'none',
        queries: [
          [`sum by (grpc_target) (grpc_subchannel_open_connections{${TARGET}})`, '{{grpc_target}} connections'],
          [`max by (grpc_target) (resilient_grpc_client_addresses{${CLIENT}})`, '{{grpc_target}} addresses'],
        ],
        description: 'Open connections of all processes, and the number of addresses that one process uses.',
      },
      {
        title: 'Connection attempts and disconnections',
        unit: 'ops',
        queries: [
          [
            `sum by (grpc_target) (${rate('grpc_subchannel_connection_attempts_succeeded_total', TARGET)})`,
            '{{grpc_target}} connected',
          ],
          [
            `sum by (grpc_target) (${rate('grpc_subchannel_connection_attempts_failed_total', TARGET)})`,
            '{{grpc_target}} failed',
          ],
          [
            `sum by (grpc_target, grpc_disconnect_error) (${rate('grpc_subchannel_disconnections_total', TARGET)})`,
            '{{grpc_target}} {{grpc_disconnect_error}}',
          ],
        ],
        description: 'Connection attempts that succeeded or failed, and disconnections by reason.',
      },
      {
        title: 'Replaced connections',
        unit: 'none',
        queries: [
          [
            `sum by (resilient_grpc_client, resilient_grpc_reason) (${increase('resilient_grpc_client_replacements_total', CLIENT)})`,
            '{{resilient_grpc_client}} {{resilient_grpc_reason}}',
          ],
        ],
        description: 'Connections that clients replaced. suspicion: a connection that no longer responded.',
      },
      {
        title: 'Ejected endpoints',
        unit: 'none',
        queries: [
          [
            `sum by (resilient_grpc_client, resilient_grpc_reason) (${increase('resilient_grpc_client_ejections_total', CLIENT)})`,
            '{{resilient_grpc_client}} {{resilient_grpc_reason}}',
          ],
          [
            `sum by (grpc_target) (${increase('grpc_lb_outlier_detection_ejections_overflow_total', TARGET)})`,
            '{{grpc_target}} not ejected: too many are unhealthy',
          ],
        ],
        description: 'Endpoints that clients temporarily stopped using, because they failed or were slow.',
      },
      {
        title: 'Endpoints in Kubernetes',
        unit: 'none',
        queries: [
          [
            `max by (resilient_grpc_client, resilient_grpc_condition) (resilient_grpc_client_endpoints{${CLIENT}})`,
            '{{resilient_grpc_client}} {{resilient_grpc_condition}}',
          ],
        ],
        description: 'Endpoints by condition, for clients with a kubernetes: target.',
      },
      {
        title: 'Duration of the endpoint watch failure',
        unit: 's',
        queries: [
          [
            `max by (resilient_grpc_client) (resilient_grpc_client_watch_failing{${CLIENT}})`,
            '{{resilient_grpc_client}}',
          ],
        ],
        description: 'For clients with a kubernetes: target. While the watch fails, new pods are not found.',
      },
    ],
  },
  {
    title: 'Clients: limits and streams',
    panels: [
      {
        title: 'Retry budget',
        unit: 'percentunit',
        queries: [
          [
            `min by (resilient_grpc_client) (resilient_grpc_client_retry_budget{${CLIENT}})`,
            '{{resilient_grpc_client}}',
          ],
        ],
        description:
          'Lowest remaining share of the retry budget in any process. Retries stop below 10%, or at 50% if retryThrottling is set.',
      },
      {
        title: 'Adaptive limits and delays',
        unit: 'none',
        queries: [
          [
            `min by (resilient_grpc_client, grpc_method) (resilient_grpc_client_concurrency_limit{${CLIENT}})`,
            '{{resilient_grpc_client}} {{grpc_method}} calls',
          ],
          [
            `max by (resilient_grpc_client, grpc_method) (resilient_grpc_client_hedging_delay{${CLIENT}})`,
            '{{resilient_grpc_client}} {{grpc_method}} hedging delay, s',
          ],
        ],
        description: 'Adaptive concurrency limits, and hedging delays that follow latency.',
      },
      {
        title: 'Open streams',
        unit: 'none',
        queries: [
          [
            `sum by (resilient_grpc_client, grpc_method) (resilient_grpc_client_streams{${CLIENT}})`,
            '{{resilient_grpc_client}} {{grpc_method}}',
          ],
        ],
        description: 'A number that only grows indicates a leak.',
      },
      {
        title: 'Age of the oldest stream',
        unit: 's',
        queries: [
          [
            `max by (resilient_grpc_client) (resilient_grpc_client_oldest_stream{${CLIENT}})`,
            '{{resilient_grpc_client}}',
          ],
        ],
        description: 'Feeds may be open for days. For other streams, an age that only grows indicates a leak.',
      },
      {
        title: 'Resumed streams',
        unit: 'ops',
        queries: [
          [
            `sum by (resilient_grpc_client, grpc_method, resilient_grpc_progress) (${rate('resilient_grpc_client_resumes_total', CLIENT)})`,
            '{{resilient_grpc_client}} {{grpc_method}} progress: {{resilient_grpc_progress}}',
          ],
        ],
        description: 'progress: false if no message was delivered since the previous resume.',
      },
      {
        title: 'Calls cut off by client drains',
        unit: 'none',
        queries: [
          [
            `sum by (job, resilient_grpc_client) (resilient_grpc_client_drain_cut_off_calls_total{${CLIENT}})`,
            '{{job}} {{resilient_grpc_client}}',
          ],
        ],
        description: 'Calls that were cut off because they were still open at the drain timeout.',
      },
    ],
  },
  {
    title: 'Servers',
    panels: [
      {
        title: 'Served calls by status',
        unit: 'reqps',
        queries: [
          [`sum by (job, grpc_status) (${rate('grpc_server_call_duration_count', JOB)})`, '{{job}} {{grpc_status}}'],
        ],
        description: 'Ended calls per second, by the status that was sent.',
      },
      {
        title: 'Duration of served calls',
        unit: 's',
        queries: latency('grpc_server_call_duration', 'job', JOB),
        description: 'Time from the headers of the request to the trailers or the reset.',
      },
      {
        title: 'Overload',
        unit: 'reqps',
        queries: [
          [
            `sum by (job, grpc_method) (${rate('resilient_grpc_server_call_shed_total', JOB)})`,
            '{{job}} {{grpc_method}}',
          ],
        ],
        description: 'Calls that the server refused before their handlers ran.',
      },
      {
        title: 'Wait of queued calls',
        unit: 's',
        queries: latency('resilient_grpc_server_call_queue_wait', 'job', JOB),
        description: 'Time for which calls waited for earlier calls before their handlers ran.',
      },
      {
        title: 'Concurrency limits of servers',
        unit: 'none',
        queries: [
          [`min by (job, grpc_method) (resilient_grpc_server_concurrency_limit{${JOB}})`, '{{job}} {{grpc_method}}'],
        ],
        description:
          'Maximum number of unary handlers that run at the same time (maxConcurrentCalls). Adaptive limits change over time.',
      },
      {
        title: 'Open streams of servers',
        unit: 'none',
        queries: [
          [`sum by (job, grpc_method) (resilient_grpc_server_streams{${JOB}})`, '{{job}} {{grpc_method}}'],
          [
            `sum by (job, grpc_method) (${increase('resilient_grpc_server_idle_streams_total', JOB)})`,
            '{{job}} {{grpc_method}} ended because idle',
          ],
        ],
        description: 'Streams that clients have open, and streams that the server ended because they were idle.',
      },
      {
        title: 'Handler leaks and cut-off calls of servers',
        unit: 'none',
        queries: [
          [
            `sum by (job, grpc_method) (resilient_grpc_server_handler_leaks_total{${JOB}})`,
            '{{job}} {{grpc_method}} leaks',
          ],
          [`sum by (job) (resilient_grpc_server_drain_cut_off_calls_total{${JOB}})`, '{{job}} cut off by a drain'],
        ],
        description:
          'Handlers that run long after their call ended, and calls that were still open at the drain timeout.',
      },
    ],
  },
];

const COLUMNS = 24;
const PER_LINE = 3;
const HEIGHT = 8;
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };

function panelsOf() {
  const panels = [];
  let y = 0;
  for (const { title, panels: inRow } of ROWS) {
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title,
      collapsed: false,
      gridPos: { h: 1, w: COLUMNS, x: 0, y },
      panels: [],
    });
    y += 1;
    const w = COLUMNS / PER_LINE;
    for (const [index, panel] of inRow.entries()) {
      const gridPos = { h: HEIGHT, w, x: (index % PER_LINE) * w, y: y + Math.floor(index / PER_LINE) * HEIGHT };
      panels.push(timeSeries(panels.length + 1, panel, gridPos));
    }
    y += Math.ceil(inRow.length / PER_LINE) * HEIGHT;
  }
  return panels;
}

function timeSeries(id, { title, unit, queries, description }, gridPos) {
  return {
    id,
    type: 'timeseries',
    title,
    description,
    datasource: DATASOURCE,
    gridPos,
    fieldConfig: {
      defaults: { unit, min: 0, custom: { lineWidth: 1, fillOpacity: 10, spanNulls: false } },
      overrides: [],
    },
    options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: queries.map(([expr, legendFormat], index) => ({
      refId: String.fromCharCode('A'.charCodeAt(0) + index),
      datasource: DATASOURCE,
      editorMode: 'code',
      expr,
      legendFormat,
      range: true,
    })),
  };
}

function variable(name, label, query) {
  return {
    name,
    label,
    type: 'query',
    datasource: DATASOURCE,
    query: { query, refId: name },
    definition: query,
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    allValue: '.*',
    current: { selected: true, text: ['All'], value: ['$__all'] },
  };
}

function dashboard() {
  return {
    title: 'gRPC clients and servers (nestjs-resilient-grpc)',
    uid: 'nestjs-resilient-grpc',
    tags: ['grpc', 'nestjs'],
    editable: true,
    graphTooltip: 1,
    schemaVersion: 39,
    version: 1,
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus', refresh: 1, current: {} },
        variable('job', 'Job', 'label_values({__name__=~"(resilient_)?grpc_.*"}, job)'),
        variable('client', 'Client', `label_values(resilient_grpc_client_retry_budget{${JOB}}, resilient_grpc_client)`),
        variable('target', 'Target', `label_values(resilient_grpc_client_retry_budget{${CLIENT}}, grpc_target)`),
      ],
    },
    annotations: { list: [] },
    links: [],
    panels: panelsOf(),
  };
}

/** Returns the current text of the dashboard file, and the text rendered from the panels of this module. */
export async function grafanaDashboard() {
  const path = join(ROOT, GRAFANA_DASHBOARD);
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    // The file does not exist yet.
  }
  const rendered = await format(JSON.stringify(dashboard()), { ...(await resolveConfig(path)), filepath: path });
  return { path, text, rendered };
}
