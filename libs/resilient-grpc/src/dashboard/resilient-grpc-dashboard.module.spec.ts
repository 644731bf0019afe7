import { NestFactory } from '@nestjs/core';
import { describe, expect, it } from 'vitest';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { resolveDashboardOptions, ResilientGrpcDashboardModule } from './resilient-grpc-dashboard.module.js';

class OpsGuard {
  canActivate = () => true;
}

const AT = 'ResilientGrpcDashboardModule.forRoot';

function problemsOf(options: unknown): string[] {
  try {
    resolveDashboardOptions(options as never);
    return [];
  } catch (error) {
    if (!(error instanceof GrpcConfigurationError)) throw error;
    return error.problems.map(({ path, message }) => `${path}: ${message}`);
  }
}

describe('dashboard options', () => {
  it('accepts dashboard options with guards or public: true', () => {
    expect(resolveDashboardOptions({ public: true })).toEqual({ path: 'grpc', imports: [], guards: [] });
    expect(resolveDashboardOptions({ guards: [OpsGuard], path: '/ops/grpc/', imports: [] })).toEqual({
      path: 'ops/grpc',
      imports: [],
      guards: [OpsGuard],
    });
  });

  const remedy = 'write guards: [OpsGuard], or public: true if everyone who can reach the port may see the page';
  it.each<[string, unknown, string[]]>([
    ['missing options', undefined, [`${AT}: expected an object, got nothing`]],
    ['neither guards nor public', {}, [`${AT}: expected guards or public: true, got neither; ${remedy}`]],
    [
      'both guards and public',
      { guards: [OpsGuard], public: true },
      [`${AT}: expected guards or public: true, got both; keep one`],
    ],
    ['an empty list of guards', { guards: [] }, [`${AT}.guards: expected >=1, got an array of length 0`]],
    [
      'an instance of a guard',
      { guards: [new OpsGuard()] },
      [`${AT}.guards[0]: expected Function, got an object with canActivate`],
    ],
    ['public: false', { public: false }, [`${AT}.public: expected true, got false`]],
    [
      'a wildcard path',
      { public: true, path: '*' },
      [`${AT}.path: expected a path without parameters, such as 'ops/grpc', got "*"`],
    ],
    ...['..', 'ops/..', './grpc', '/a/../b/'].map((path): [string, unknown, string[]] => [
      `a path with dot segments (${path})`,
      { public: true, path },
      [`${AT}.path: expected a path without parameters, such as 'ops/grpc', got "${path}"`],
    ]),
    [
      'an empty path',
      { public: true, path: '/' },
      [`${AT}.path: expected a path without parameters, such as 'ops/grpc', got "/"`],
    ],
    [
      'several problems at once',
      { guard: [OpsGuard], paths: 'x' },
      [
        `${AT}.guard: unknown option; did you mean 'guards'?`,
        `${AT}.paths: unknown option; did you mean 'path'?`,
        `${AT}: expected guards or public: true, got neither; ${remedy}`,
      ],
    ],
  ])('reports the path, the problem, and the remedy for invalid dashboard options: %s', (_what, options, problems) => {
    expect(problemsOf(options)).toEqual(problems);
  });
});

it('makes startup fail with an error that names a remedy if the dashboard module is imported without options', async () => {
  const start = NestFactory.createApplicationContext(ResilientGrpcDashboardModule, {
    logger: false,
    abortOnError: false,
  });
  await expect(start).rejects.toThrow(
    'imports: ResilientGrpcDashboardModule: expected options, got none; ' +
      'write ResilientGrpcDashboardModule.forRoot({ guards: [OpsGuard] }), or forRoot({ public: true })',
  );
});
