const NAME = 'grpc-endpoints';

/**
 * Returns a remedy with a command that grants the permissions to list and watch EndpointSlices. `message` is the API server's error message
 * and names the user: 'endpointslices.discovery.k8s.io is forbidden: User "system:serviceaccount:shop:gateway" cannot list resource …'. The
 * manifest is JSON, because the remedy must fit on one line.
 */
export function permissionRemedy(message: string, namespace: string): string {
  const user = /User "([^"]+)"/.exec(message)?.[1] ?? 'system:serviceaccount:default:default';
  const [, accountNamespace, account] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(user) ?? [];
  const subject =
    account === undefined
      ? { kind: 'User', name: user, apiGroup: 'rbac.authorization.k8s.io' }
      : { kind: 'ServiceAccount', name: account, namespace: accountNamespace };
  const apiVersion = 'rbac.authorization.k8s.io/v1';
  const metadata = { name: NAME, namespace };
  const manifest = {
    apiVersion: 'v1',
    kind: 'List',
    items: [
      {
        apiVersion,
        kind: 'Role',
        metadata,
        rules: [{ apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] }],
      },
      {
        apiVersion,
        kind: 'RoleBinding',
        metadata,
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: NAME },
        subjects: [subject],
      },
    ],
  };
  // Escapes apostrophes, because the shell command contains the manifest in single quotes.
  const json = JSON.stringify(manifest).replaceAll("'", '\\u0027');
  return `grant the permission: echo '${json}' | kubectl apply -f -`;
}
