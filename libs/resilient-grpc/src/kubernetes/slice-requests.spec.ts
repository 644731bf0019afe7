import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { permissionRemedy } from './slice-requests.js';

interface Manifest {
  readonly items: readonly { readonly subjects?: readonly object[] }[];
}

/** Runs the part of the command before kubectl, and returns the manifest that it prints. */
function manifestOf(remedy: string): Manifest {
  const command = remedy.replace(/^grant the permission: /, '').replace(/ \| kubectl apply -f -$/, '');
  return JSON.parse(spawnSync('sh', ['-c', command], { encoding: 'utf8' }).stdout) as Manifest;
}

const makeMessage = (user: string) =>
  `endpointslices.discovery.k8s.io is forbidden: User "${user}" cannot list resource`;

describe('permissionRemedy', () => {
  it.each([
    ['system:serviceaccount:shop:gateway', { kind: 'ServiceAccount', name: 'gateway', namespace: 'shop' }],
    ['jane', { kind: 'User', name: 'jane', apiGroup: 'rbac.authorization.k8s.io' }],
    ["o'hara", { kind: 'User', name: "o'hara", apiGroup: 'rbac.authorization.k8s.io' }],
  ])('binds the role for EndpointSlice watches to the user %s', (user, subject) => {
    const { items } = manifestOf(permissionRemedy(makeMessage(user), 'shop'));
    expect(items).toMatchObject([{ kind: 'Role' }, { kind: 'RoleBinding', subjects: [subject] }]);
  });
});
