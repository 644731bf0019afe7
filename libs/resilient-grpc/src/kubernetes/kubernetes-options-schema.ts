import * as v from 'valibot';
import { object } from '../policy/options/option-schemas.js';

const text = (expected: string) => v.optional(v.pipe(v.string(expected), v.nonEmpty(expected)));

/** Schema of `KubernetesResolverOptions`. */
export const kubernetesOptionsSchema = object(
  {
    kubeconfig: text("a path such as '/run/kubeconfig'"),
    namespace: text("a namespace such as 'shop'"),
  },
  "an object such as { namespace: 'shop' }",
);
