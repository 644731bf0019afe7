import { rollingDeploy } from './rolling-deploy.js';
import { itHolds } from './support/it-holds.js';

itHolds(rollingDeploy);
