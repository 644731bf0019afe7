import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Role, RoleBinding } from 'kubernetes-types/rbac/v1.d.ts';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { ROOT } from '../../docs/markdown.js';
import { shown } from '../shown.js';

const text = readFileSync(join(ROOT, 'docs/deploy/kubernetes/rbac.yaml'), 'utf8');

function parseDocuments(): readonly [Role, RoleBinding] {
  const documents = parseAllDocuments(text);
  expect(documents.flatMap(({ errors }) => errors)).toEqual([]);
  // The assertions of the tests check the shape.
  return documents.map((document) => document.toJS() as object) as unknown as readonly [Role, RoleBinding];
}

describe('docs/deploy/kubernetes/rbac.yaml', () => {
  it('shows rbac.yaml unchanged in docs/deploy/kubernetes-resolver.md', () => {
    expect(shown('kubernetes-resolver', 'yaml').trim()).toBe(text.trim());
  });

  it('grants in rbac.yaml only the permissions that the Kubernetes resolver needs', () => {
    const [role] = parseDocuments();
    expect(role).toMatchObject({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role' });
    expect(role.rules).toEqual([
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
    ]);
  });

  it('binds the role in rbac.yaml to the service account of the client', () => {
    const [role, binding] = parseDocuments();
    expect(binding).toEqual({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: role.metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: role.metadata?.name },
      subjects: [{ kind: 'ServiceAccount', name: 'gateway', namespace: 'shop' }],
    });
  });
});
