import { eveningInKubernetes } from './evening-in-kubernetes.js';
import { itHolds } from './support/it-holds.js';

itHolds(eveningInKubernetes);
