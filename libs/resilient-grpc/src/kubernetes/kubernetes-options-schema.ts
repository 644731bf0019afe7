import * as v from 'valibot';
import { object } from '../policy/options/option-schemas.js';

const text = (expected: string) => v.optional(v.pipe(v.string(expected), v.nonEmpty(expected)));

/** Schema of `KubernetesResolverOptions`. */
export const kubernetesOptionsSchema = object(
  {
    kubeconfig: text("a path such as '/run/kubeconfig'"),
    context: text('the name of a context in the kubeconfig'),
    namespace: text("a namespace such as 'shop'"),
    zone: text("a zone such as 'eu-central-1a'"),
  },
  "an object such as { zone: 'eu-central-1a' }",
);
