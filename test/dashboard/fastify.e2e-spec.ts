import { FastifyAdapter } from '@nestjs/platform-fastify';
import { describe } from 'vitest';
import { itServesTheDashboard } from './routes.js';

// Of itself Fastify has no page at a path with a slash behind it, whatever the application.
const adapter = () => new FastifyAdapter({ routerOptions: { ignoreTrailingSlash: true } });

describe('the dashboard on Fastify', () => itServesTheDashboard(adapter));
