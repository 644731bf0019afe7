/** Options of `registerKubernetesResolver`. */
export interface KubernetesResolverOptions {
  /**
   * Path of a kubeconfig file.
   * @defaultValue the files that `KUBECONFIG` lists, or else `~/.kube/config`, or else the service account of the pod
   */
  readonly kubeconfig?: string | undefined;
  /** Context in the kubeconfig. @defaultValue the `current-context` of the kubeconfig */
  readonly context?: string | undefined;
  /**
   * Namespace for targets without one, such as `kubernetes:///orders:50051`.
   * @defaultValue the namespace of the context, or that of the pod if its service account is used, or else 'default'
   */
  readonly namespace?: string | undefined;
  /**
   * Zone of this process, such as 'eu-central-1a'. Only ready endpoints whose hints name this zone are used. Kubernetes sets hints for a
   * service with `trafficDistribution: PreferSameZone` (`PreferClose` before Kubernetes 1.34). All ready endpoints are used if one of them
   * has no hint, or if no hint names the zone.
   * @defaultValue none: all ready endpoints are used
   */
  readonly zone?: string | undefined;
}
