import { describe } from 'vitest';
import { itServesTheDashboard } from './routes.js';

describe('the dashboard on Express', () => itServesTheDashboard());
