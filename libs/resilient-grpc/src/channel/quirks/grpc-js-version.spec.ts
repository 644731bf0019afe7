import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { OLDEST_GRPC_JS, TESTED_GRPC_JS, grpcJsProblem, grpcJsVersion, isUntested } from './grpc-js-version.js';

const require = createRequire(import.meta.url);
const { peerDependencies } = require('../../../package.json') as { readonly peerDependencies: Record<string, string> };
const { version } = require('@grpc/grpc-js/package.json') as { readonly version: string };

describe('grpc-js version', () => {
  it('reads the version of the installed grpc-js', () => {
    expect(grpcJsVersion()).toBe(version);
    expect(grpcJsProblem()).toBeUndefined();
  });

  it('accepts what package.json accepts, and names the installed version as the tested one', () => {
    expect(peerDependencies['@grpc/grpc-js']).toBe(`^${OLDEST_GRPC_JS}`);
    expect(TESTED_GRPC_JS).toBe(version);
  });

  it.each([
    ['1.12.6', 'unusable'],
    ['1.13.4', 'unusable'],
    ['0.9.0', 'unusable'],
    ['1.14.3', 'tested'],
    [OLDEST_GRPC_JS, 'tested'],
    [TESTED_GRPC_JS, 'tested'],
    ['1.14.99', 'tested'],
    ['1.15.0', 'untested'],
    ['1.15.0-pre.1', 'untested'],
    ['2.0.0', 'untested'],
    ['', 'tested'],
    ['workspace:*', 'tested'],
  ])('classifies grpc-js version %j as %s (row %$)', (installed, verdict) => {
    const found = grpcJsProblem(installed) !== undefined ? 'unusable' : isUntested(installed) ? 'untested' : 'tested';
    expect(found).toBe(verdict);
  });

  it('names the version to install if grpc-js is too old', () => {
    expect(grpcJsProblem('1.13.4')).toBe('expected 1.14.0 or later, got 1.13.4; run npm install @grpc/grpc-js@^1.14.0');
  });
});
