export type { KubernetesResolverOptions } from './api-server.js';
export { registerKubernetesResolver } from './register-kubernetes-resolver.js';
