import * as v from 'valibot';
import { object } from '../policy/options/option-schemas.js';

/** Options of `registerKubernetesResolver`. */
export interface KubernetesResolverOptions {
  /**
   * Path of a kubeconfig file.
   * @defaultValue the files that `KUBECONFIG` lists, or else `~/.kube/config`, or else the service account of the pod
   */
  readonly kubeconfig?: string | undefined;
  /**
   * Namespace for targets without one, such as `kubernetes:///orders:50051`.
   * @defaultValue the namespace of the context, or that of the pod if its service account is used, or else 'default'
   */
  readonly namespace?: string | undefined;
}

const text = (expected: string) => v.optional(v.pipe(v.string(expected), v.nonEmpty(expected)));

/** Schema of `KubernetesResolverOptions`. */
export const kubernetesOptionsSchema = object(
  {
    kubeconfig: text("a path such as '/run/kubeconfig'"),
    namespace: text("a namespace such as 'shop'"),
  },
  "an object such as { namespace: 'shop' }",
);
