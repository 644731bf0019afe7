import { describeGateway } from './http-cases.js';

describeGateway('Express');
