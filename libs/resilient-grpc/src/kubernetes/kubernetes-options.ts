import * as v from 'valibot';
import { object } from '../policy/options/option-schemas.js';

/** Options of `registerKubernetesResolver`. */
export interface KubernetesResolverOptions {
  /**
   * Path of a kubeconfig file.
   * @defaultValue the files that `KUBECONFIG` lists, or else `~/.kube/config`, or else the service account of the pod
   */
  readonly kubeconfig?: string | undefined;
}

/** Schema of `KubernetesResolverOptions`. */
export const kubernetesOptionsSchema = object({ kubeconfig: v.optional(v.pipe(v.string(), v.nonEmpty())) });
