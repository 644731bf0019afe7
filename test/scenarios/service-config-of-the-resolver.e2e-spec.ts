import { serviceConfigOfTheResolver } from './service-config-of-the-resolver.js';
import { itHolds } from './support/it-holds.js';

itHolds(serviceConfigOfTheResolver);
