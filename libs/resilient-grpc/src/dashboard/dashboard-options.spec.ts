import { describe, expect, it } from 'vitest';
import { isGrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { resolveDashboardOptions } from './dashboard-options.js';

class OpsGuard {
  canActivate = () => true;
}

const AT = 'ResilientGrpcDashboardModule.forRoot';

function problemsOf(options: unknown): string[] {
  try {
    resolveDashboardOptions(options);
    return [];
  } catch (error) {
    if (!isGrpcConfigurationError(error)) throw error;
    return error.problems.map(({ path, message }) => `${path}: ${message}`);
  }
}

describe('options of the dashboard', () => {
  it('take guards, or the word that there are none', () => {
    expect(resolveDashboardOptions({ public: true })).toEqual({ path: 'grpc', imports: [], guards: [] });
    expect(resolveDashboardOptions({ guards: [OpsGuard], path: '/ops/grpc/', imports: [] })).toEqual({
      path: 'ops/grpc',
      imports: [],
      guards: [OpsGuard],
    });
  });

  const remedy = 'write guards: [OpsGuard], or public: true where everybody who reaches the port may see it';
  it.each<[string, unknown, string[]]>([
    ['nothing', undefined, [`${AT}: expected an object, as { guards: [OpsGuard] }, got nothing`]],
    [
      'a proxy that throws',
      new Proxy({}, { ownKeys: () => JSON.parse('') as never }),
      [`${AT}: cannot be read: Unexpected end of JSON input; write plain values`],
    ],
    ['neither', {}, [`${AT}: expected guards or public: true, got neither; ${remedy}`]],
    ['both', { guards: [OpsGuard], public: true }, [`${AT}: expected guards or public: true, got both; keep one`]],
    ['no guard', { guards: [] }, [`${AT}.guards: expected classes of guards, as [OpsGuard], got an array of 0`]],
    [
      'an object for a guard',
      { guards: [new OpsGuard()] },
      [
        `${AT}.guards[0]: expected the class of a guard, as OpsGuard; what it needs comes from imports, got an object with canActivate`,
      ],
    ],
    ['what is not public', { public: false }, [`${AT}.public: expected true, or guards, got false`]],
    [
      'a path that takes everything',
      { public: true, path: '*' },
      [`${AT}.path: expected a path of its own without parameters, as 'ops/grpc', got "*"`],
    ],
    ...['..', 'ops/..', './grpc', '/a/../b/'].map((path): [string, unknown, string[]] => [
      `a path that is resolved away: ${path}`,
      { public: true, path },
      [`${AT}.path: expected a path of its own without parameters, as 'ops/grpc', got "${path}"`],
    ]),
    [
      'no path at all',
      { public: true, path: '/' },
      [`${AT}.path: expected a path of its own without parameters, as 'ops/grpc', got "/"`],
    ],
    [
      'several slips at once',
      { guard: [OpsGuard], paths: 'x' },
      [
        `${AT}.guard: unknown key; write guards: [OpsGuard]`,
        `${AT}.paths: unknown key; did you mean 'path'?`,
        `${AT}: expected guards or public: true, got neither; ${remedy}`,
      ],
    ],
  ])('%s: says where, what, and what to write', (_what, options, problems) => {
    expect(problemsOf(options)).toEqual(problems);
  });
});
