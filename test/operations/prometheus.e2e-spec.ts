import { execFileSync } from 'node:child_process';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { ROOT } from '../docs/markdown.js';
import { skipWithout } from '../support/programs.js';
import { startPrometheus } from '../support/prometheus.js';
import { instrumentedScene } from '../telemetry/instrumented-client.js';
import { RULES, RULES_FILE, RULES_TEXT } from './operations-files.js';
import { serveMetrics } from './served-metrics.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const promtool = (...args: readonly string[]): string =>
  execFileSync('promtool', args, { cwd: ROOT, encoding: 'utf8' });

describe('the alert rules', () => {
  it('validates the alert rules with promtool check and promtool test', ({ skip }) => {
    skip(...skipWithout('Prometheus'));
    expect(promtool('check', 'rules', RULES_FILE)).toContain(`SUCCESS: ${String(RULES.length)} rules found`);
    for (const tests of ['prometheus-rules', 'stream-leak-rules']) {
      expect(promtool('test', 'rules', `test/operations/${tests}.test.yml`)).toContain('SUCCESS');
    }
  });
});

describe('Prometheus server that scrapes an application', () => {
  it('fires the outage alert only during an outage', async ({ skip }) => {
    skip(...skipWithout('Prometheus'));
    const { address } = await serveMetrics();
    const { echo, client, server } = await instrumentedScene({ outageGraceMs: 60_000 });
    await firstValueFrom(echo.unary({}));
    // Shortens the `for` durations of the rules, so that alerts fire soon.
    const prometheus = await startPrometheus(address, RULES_TEXT.replaceAll(/for: \dm/g, 'for: 1s'));
    const outage = async () =>
      (await prometheus.alerts()).find(({ labels }) => labels.alertname === 'GrpcClientOutage');
    const patient = { timeoutMs: 50_000, intervalMs: 100, describe: () => 'the metric or the alert to change' };
    await waitFor(async () => (await prometheus.query('resilient_grpc_client_addresses')).length === 1, patient);
    expect(await prometheus.alerts()).toEqual([]);

    await server.stop('kill-connections');
    const waiting = firstValueFrom(echo.unary({}));
    const alert = await waitFor(async () => {
      const found = await outage();
      return found?.state === 'firing' ? found : undefined;
    }, patient);
    expect(alert?.labels).toEqual({
      alertname: 'GrpcClientOutage',
      job: 'shop',
      severity: 'critical',
      resilient_grpc_client: 'echo',
      grpc_target: `dns:///${server.url}`,
    });
    expect(alert?.annotations.description).toContain(`npx nestjs-resilient-grpc doctor dns:///${server.url}`);

    await server.restart();
    await waiting;
    await waitFor(async () => (await outage()) === undefined, patient);
    expect(client.connectivity.state).toBe('READY');
  });
});
