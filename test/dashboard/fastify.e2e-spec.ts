import { FastifyAdapter } from '@nestjs/platform-fastify';
import { describe } from 'vitest';
import { itServesTheDashboard } from './routes.js';

// By default, Fastify does not match a path with a trailing slash to a route without one.
const adapter = () => new FastifyAdapter({ routerOptions: { ignoreTrailingSlash: true } });

describe('dashboard on Fastify', () => itServesTheDashboard(adapter));
