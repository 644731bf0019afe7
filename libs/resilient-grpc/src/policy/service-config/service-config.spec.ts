import { describe, expect, it } from 'vitest';
import { lookupMethodConfig, type ParsedServiceConfig } from './service-config.js';

const config: ParsedServiceConfig = {
  methodConfig: [
    { names: [{ service: '', method: '' }], timeoutMs: 1 },
    {
      names: [
        { service: 'a.Other', method: '' },
        { service: 'a.Orders', method: '' },
      ],
      timeoutMs: 2,
    },
    { names: [{ service: 'a.Orders', method: 'Get' }], waitForReady: true },
  ],
};

describe('lookupMethodConfig', () => {
  it('returns the method config of a method without merging it with other method configs', () => {
    expect(lookupMethodConfig(config, 'a.Orders', 'Get')).toBe(config.methodConfig[2]);
  });
  it('returns the method config of the service if the method has none', () => {
    expect(lookupMethodConfig(config, 'a.Orders', 'List')).toBe(config.methodConfig[1]);
  });
  it('returns the default method config if the service has none', () => {
    expect(lookupMethodConfig(config, 'b.Users', 'Get')).toBe(config.methodConfig[0]);
  });
  it('returns undefined if no method config matches', () => {
    expect(lookupMethodConfig({ methodConfig: [] }, 'a.Orders', 'Get')).toBeUndefined();
  });
});
