import { FastifyAdapter } from '@nestjs/platform-fastify';
import { describeGateway } from './http-cases.js';

describeGateway('Fastify', () => new FastifyAdapter());
