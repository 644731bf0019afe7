import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { codeBlocks } from '../docs/markdown.js';
import { readManifest } from './kubernetes/manifests.js';
import { shown } from './shown.js';

const blocks = codeBlocks('docs/deploy/meshes-xds.md')
  .filter(({ language }) => language === 'yaml')
  .map(({ text }) => parse(text) as unknown);
const { Service, Deployment } = readManifest('orders');

it('shows a virtual service in docs/deploy/meshes-xds.md that matches the manifests and disables retries', () => {
  const { name, namespace } = Service.metadata!;
  const host = `${name}.${namespace}.svc.cluster.local`;
  expect(blocks[0]).toMatchObject({
    metadata: { namespace },
    spec: { hosts: [host], http: [{ route: [{ destination: { host } }], retries: { attempts: 0 } }] },
  });
});

it('shows a sidecar drain time in docs/deploy/meshes-xds.md that equals the drain timeout of the application and is shorter than the termination grace period', () => {
  const { annotations } = (blocks[1] as typeof Deployment).spec!.template.metadata!;
  const { terminationDrainDuration } = parse(annotations!['proxy.istio.io/config']!) as Record<string, string>;
  const { terminationGracePeriodSeconds } = Deployment.spec!.template.spec!;
  const seconds = parseInt(terminationDrainDuration!, 10);
  expect(shown('kubernetes', 'orders.module.ts')).toContain(`timeoutMs: ${seconds}_000`);
  expect(terminationGracePeriodSeconds).toBeGreaterThan(seconds);
});
