import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { onTestFinished } from 'vitest';

/** A pending or firing alert. */
export interface Alert {
  readonly state: 'pending' | 'firing';
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A time series in the result of a query. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
}

/** A Prometheus server on loopback. */
export interface Prometheus {
  /** Returns the alerts that are pending or firing. */
  alerts(): Promise<readonly Alert[]>;
  /** Returns the current result of a query. Rejects with the error that Prometheus reports, if any. */
  query(expression: string): Promise<readonly Series[]>;
}

/**
 * Starts a Prometheus that scrapes `target` ('127.0.0.1:3000') and evaluates `rules` at `interval`; it stops after the test. Queries ignore
 * values that are older than `lookback`.
 */
export async function startPrometheus(
  target: string,
  rules: string,
  { interval = '1s', lookback = '5m' } = {},
): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), 'prometheus-'));
  writeFileSync(join(folder, 'rules.yml'), rules);
  writeFileSync(
    join(folder, 'prometheus.yml'),
    `global: { scrape_interval: ${interval}, scrape_timeout: ${interval}, evaluation_interval: ${interval} }
rule_files: [rules.yml]
scrape_configs: [{ job_name: shop, static_configs: [{ targets: ['${target}'] }] }]
`,
  );
  const process = spawn('prometheus', [
    `--config.file=${join(folder, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    '--web.listen-address=127.0.0.1:0',
    `--query.lookback-delta=${lookback}`,
  ]);
  const exited = once(process, 'exit');
  let output = '';
  for (const stream of [process.stdout, process.stderr])
    stream.on('data', (data: Buffer) => (output += data.toString()));
  onTestFinished(async () => {
    process.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true });
  });
  const ready = { timeoutMs: 50_000, intervalMs: 50, describe: () => `Prometheus to be ready:\n${output}` };
  const port = await waitFor(() => /"Listening on" address=127\.0\.0\.1:(\d+)/.exec(output)?.[1], ready);
  const url = `http://127.0.0.1:${port}`;
  await waitFor(async () => (await fetch(`${url}/-/ready`)).ok, ready);
  const read = async <T>(path: string): Promise<T> => {
    const { status, data, error } = (await (await fetch(`${url}/api/v1/${path}`)).json()) as {
      readonly status: string;
      readonly data: T;
      readonly error?: string;
    };
    if (status !== 'success') throw new Error(error);
    return data;
  };
  return {
    alerts: async () => (await read<{ readonly alerts: readonly Alert[] }>('alerts')).alerts,
    query: async (expression) =>
      (await read<{ readonly result: readonly Series[] }>(`query?query=${encodeURIComponent(expression)}`)).result,
  };
}
