export type { KubernetesResolverOptions } from './kubernetes-options.js';
export { registerKubernetesResolver } from './register-kubernetes-resolver.js';
