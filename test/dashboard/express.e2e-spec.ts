import { describe } from 'vitest';
import { itServesTheDashboard } from './routes.js';

describe('dashboard on Express', () => itServesTheDashboard());
