import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { GrpcConfigurationError } from './grpc-configuration-error.js';

describe('GrpcConfigurationError', () => {
  it('prints each problem of a GrpcConfigurationError once', () => {
    const problems = [
      { path: 'clients.orders.url', message: 'expected a target' },
      { path: 'clients.orders.ulr', message: 'unknown key' },
    ];
    const error = new GrpcConfigurationError(problems);
    expect(inspect(error).match(/expected a target|unknown key/g)).toEqual(['expected a target', 'unknown key']);
    expect(error.problems).toEqual(problems);
  });
});
