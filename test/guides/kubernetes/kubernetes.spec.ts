import type { Probe } from 'kubernetes-types/core/v1.d.ts';
import { describe, expect, it } from 'vitest';
import { codeBlocks } from '../../docs/markdown.js';
import { shown } from '../shown.js';
import { MANIFESTS, readManifest, structuralProblems } from './manifests.js';

const PAGE = 'docs/deploy/kubernetes.md';
/** Time for the hooks of the application and the exit of the process. */
const MARGIN_S = 5;

const manifests = { orders: readManifest('orders'), gateway: readManifest('gateway') };
const blocks = codeBlocks(PAGE);
const code = {
  orders: shown('kubernetes', 'orders.module.ts'),
  gateway: shown('kubernetes', 'gateway.module.ts'),
};

/** The number after `name: ` in code. */
function numberIn(text: string, name: string): number {
  return Number(new RegExp(`${name}: ([\\d_]+)`).exec(text)![1]!.replaceAll('_', ''));
}

const secondsOf = (probe: Probe) => probe.periodSeconds! * probe.failureThreshold!;

it('finds no structural problems in the Kubernetes manifests, except for a field misspelled on purpose', () => {
  const { Deployment } = manifests.orders;
  const misspelled = { ...manifests.orders, Deployment: { ...Deployment, spec: { ...Deployment.spec, replica: 3 } } };
  // The cast hides the invalid field from the compiler on purpose.
  const all = [...Object.values(manifests), misspelled as typeof manifests.orders];
  expect(structuralProblems(all)).toEqual([expect.stringContaining('"replica"')]);
});

it('finds every YAML excerpt of docs/deploy/kubernetes.md in the manifests', () => {
  const lines = Object.values(manifests).flatMap(({ text }) => text.split('\n').map((line) => line.trim()));
  const all = lines.join('\n');
  const shown = blocks.filter(({ language }) => language === 'yaml').map(({ text }) => text);
  expect(shown.length).toBeGreaterThan(3);
  const unknown = shown.filter((text) => !all.includes(text.replaceAll(/^ +/gm, '')));
  expect(unknown).toEqual([]);
});

describe.each(MANIFESTS)('%s', (name) => {
  const { Service, Deployment, PodDisruptionBudget } = manifests[name];
  const { spec, metadata } = Deployment.spec!.template;
  const [container] = spec!.containers as [NonNullable<typeof spec>['containers'][number]];
  const drainS = numberIn(code[name], 'timeoutMs') / 1_000;
  const delayS = numberIn(code[name], 'readinessDelayMs') / 1_000;

  it(`uses the same labels in all resources of ${name}, and the container port in its service`, () => {
    const labels = metadata!.labels;
    expect(Service.spec!.selector).toEqual(labels);
    expect(Deployment.spec!.selector.matchLabels).toEqual(labels);
    expect(PodDisruptionBudget.spec!.selector!.matchLabels).toEqual(labels);
    expect(Service.spec!.ports![0]!.targetPort).toBe(container.ports![0]!.name);
  });

  it(`gives ${name} a grace period that covers its drain, and a readiness delay that is long enough for its readiness probe to fail`, () => {
    const preStopS = container.lifecycle?.preStop?.sleep?.seconds ?? 0;
    expect(spec!.terminationGracePeriodSeconds).toBe(preStopS + drainS + MARGIN_S);
    expect(delayS).toBeLessThan(drainS);
    expect(delayS).toBeGreaterThanOrEqual(secondsOf(container.readinessProbe!));
  });

  it(`does not fail the liveness probe of ${name} during a drain`, () => {
    expect(secondsOf(container.livenessProbe!)).toBeGreaterThan(drainS);
  });

  it(`keeps all replicas of ${name} during a rollout and disrupts one pod at a time`, () => {
    expect(Deployment.spec!.strategy!.rollingUpdate).toEqual({ maxUnavailable: 0, maxSurge: 1 });
    expect(PodDisruptionBudget.spec!.maxUnavailable).toBe(1);
    expect(Deployment.spec!.replicas).toBeGreaterThan(1);
  });
});

describe('orders', () => {
  const { Service, Deployment } = manifests.orders;
  const [container] = Deployment.spec!.template.spec!.containers;

  it('defines a headless service for orders in the Kubernetes manifests and probes the port that the orders server listens on', () => {
    const port = Number(/'0\.0\.0\.0:(\d+)'/.exec(code.orders)![1]);
    expect(Service.spec!.clusterIP).toBe('None');
    expect(Service.spec!.ports![0]).toMatchObject({ port, appProtocol: 'grpc' });
    expect(container!.ports).toEqual([{ name: 'grpc', containerPort: port }]);
    expect([container!.startupProbe?.grpc, container!.readinessProbe?.grpc]).toEqual([{ port }, { port }]);
    expect(container!.livenessProbe?.tcpSocket).toEqual({ port: 'grpc' });
  });

  it('uses the fully qualified name and the port of the orders service as the url in the gateway module of docs/deploy/kubernetes.md', () => {
    const { name, namespace } = Service.metadata!;
    const { port } = Service.spec!.ports![0]!;
    expect(code.gateway).toContain(`url: 'dns:///${name}.${namespace}.svc.cluster.local.:${port}'`);
    expect(code.gateway).toContain("loadBalancing: 'round_robin'");
  });
});

describe('gateway', () => {
  const [container] = manifests.gateway.Deployment.spec!.template.spec!.containers;

  it('probes the health routes of docs/operate/health.md in the gateway manifest', () => {
    const isHealthModule = ({ text }: { readonly text: string }) => text.includes('export class HealthModule');
    const routes = codeBlocks('docs/operate/health.md').find(isHealthModule)!.text;
    const probed = [container!.startupProbe, container!.readinessProbe, container!.livenessProbe].map(
      (probe) => probe!.httpGet!.path!,
    );
    expect(probed).toEqual(['/health/ready', '/health/ready', '/health/live']);
    for (const path of probed) expect(routes).toContain(`@Get('${path.replace('/health/', '')}')`);
  });
});
